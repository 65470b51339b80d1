//! What a demo server answers to what: the Open Inference Protocol's paths, and the token stream beside them.

use std::convert::Infallible;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    classifier::{Version, classify},
    iris::flower,
    protocol::{self, Inference},
    tokens::TokenStream,
};

/// A thousand flowers as JSON are some 100 KiB.
const BODY_BYTES_MAX: usize = 1024 * 1024;

type Answer = Response<Either<Full<Bytes>, TokenStream>>;

/// Answers one request; a bad one gets a status and `{"error": …}`.
pub(super) async fn answer(version: Version, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let Some(path) = Path::parse(request.uri().path()) else {
        return Ok(refusal(StatusCode::NOT_FOUND, &format!("there is nothing at {}", request.uri().path())));
    };
    if !path.takes(request.method()) {
        return Ok(method_not_allowed(path));
    }
    Ok(match path {
        Path::Health => json_answer(StatusCode::OK, &json!({})),
        Path::Server => json_answer(StatusCode::OK, &protocol::server_metadata()),
        Path::Metadata => json_answer(StatusCode::OK, &protocol::metadata(version)),
        Path::Infer => read(request).await.map_or_else(|no| *no, |inference| infer(version, &inference)),
        Path::Stream if request.method() == Method::GET => stream(version, &example()),
        Path::Stream => read(request).await.map_or_else(|no| *no, |inference| stream(version, &inference)),
    })
}

#[derive(Clone, Copy, Debug)]
enum Path {
    Health,
    Server,
    Metadata,
    Infer,
    Stream,
}

impl Path {
    fn parse(path: &str) -> Option<Path> {
        Some(match path {
            "/v2" | "/v2/" => Path::Server,
            "/v2/health/live" | "/v2/health/ready" | "/v2/models/iris/ready" => Path::Health,
            "/v2/models/iris" => Path::Metadata,
            "/v2/models/iris/infer" => Path::Infer,
            "/v2/models/iris/generate_stream" => Path::Stream,
            _ => return None,
        })
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Path::Health | Path::Server | Path::Metadata => method == Method::GET || method == Method::HEAD,
            Path::Infer => method == Method::POST,
            Path::Stream => method == Method::GET || method == Method::POST,
        }
    }

    fn allowed(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Path::Health | Path::Server | Path::Metadata => "GET, HEAD",
            Path::Infer => "POST",
            Path::Stream => "GET, POST",
        })
    }
}

/// The refusal is boxed because it is much larger than what is usually read.
async fn read(request: Request<Incoming>) -> Result<Inference, Box<Answer>> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await.map_err(|error| {
        Box::new(match error.downcast_ref::<LengthLimitError>() {
            Some(_) => refusal(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is over {BODY_BYTES_MAX} bytes")),
            None => refusal(StatusCode::BAD_REQUEST, &format!("the body could not be read: {error}")),
        })
    })?;
    let inference = protocol::parse_inference(&body.to_bytes());
    inference.map_err(|error| Box::new(refusal(StatusCode::BAD_REQUEST, &error.to_string())))
}

fn infer(version: Version, inference: &Inference) -> Answer {
    let said: Vec<_> = inference.flowers.iter().map(|features| classify(version, features)).collect();
    json_answer(StatusCode::OK, &protocol::inference_answer(version, inference.id.as_deref(), &said))
}

/// Speaks about the first flower of the request.
fn stream(version: Version, inference: &Inference) -> Answer {
    let Some(features) = inference.flowers.first() else {
        return refusal(StatusCode::BAD_REQUEST, "there is no flower in the request");
    };
    let tokens = TokenStream::new(version, features, &classify(version, features));
    let mut answer = Response::new(Either::Right(tokens));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// A `GET` has no body; it hears about a versicolor, so that `curl -N URL` shows something.
fn example() -> Inference {
    Inference { id: None, flowers: vec![flower(60).features] }
}

fn method_not_allowed(path: Path) -> Answer {
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method; see Allow");
    answer.headers_mut().insert(ALLOW, path.allowed());
    answer
}

fn refusal(status: StatusCode, error: &str) -> Answer {
    json_answer(status, &json!({ "error": error }))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
