//! Request bodies: JSON, whatever the content type says (curl sends forms by default), bounded in size and in time.

use std::time::Duration;

use axum::{body::Bytes, extract::Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::answer::Refusal;
use crate::api::{Problem, ProblemKind};

/// Bytes of a request body.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a request body that brings a file.
const FILE_BODY_BYTES_MAX: usize = 64 << 20;

/// Bodies of that size that are read at the same time.
static FILES: Semaphore = Semaphore::const_new(2);

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The request's body; an empty one asks for nothing in particular.
pub(super) async fn or_default<T: DeserializeOwned + Default>(request: Request) -> Result<T, Refusal> {
    let bytes = collect(request, BODY_BYTES_MAX).await?;
    if bytes.trim_ascii().is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

/// The request's body, which must not be empty.
pub(super) async fn required<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    parse(&collect(request, BODY_BYTES_MAX).await?)
}

/// Like [`or_default`], for a call that brings a whole file: up to 64 MiB, and of few callers at a time.
pub(super) async fn with_file<T: DeserializeOwned + Default>(request: Request) -> Result<T, Refusal> {
    let Ok(_place) = FILES.try_acquire() else {
        let problem = Problem::new(ProblemKind::Busy, "as many files as are taken at once are being taken");
        return Err(problem.hint("try again in a moment").into());
    };
    let bytes = collect(request, FILE_BODY_BYTES_MAX).await?;
    if bytes.trim_ascii().is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

async fn collect(request: Request, bytes_max: usize) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), bytes_max);
    let problem = match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {} KiB", bytes_max / 1024);
            let hint = match bytes_max {
                FILE_BODY_BYTES_MAX => "send the requests in several parts",
                _ => "no call of this API but record needs a body of that size",
            };
            Problem::new(ProblemKind::TooLarge, message).hint(hint)
        }
        Ok(Err(error)) => Problem::new(ProblemKind::Invalid, format!("the body did not arrive whole: {error}")),
        Err(_elapsed) => {
            let message = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Problem::new(ProblemKind::Invalid, message)
        }
    };
    Err(problem.into())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let key = error.path().to_string();
        // `.` is the body as a whole; its error names the key already, or there is none to name.
        let place = if key == "." { "body".to_owned() } else { format!("body, key {key}") };
        wrong(&place, error.inner())
    })?;
    json.end().map_err(|error| wrong("body", &error))?;
    if matches!(bytes.trim_ascii_start().first(), Some(b'[')) {
        // serde would take an array for an object's fields in their order.
        let problem = Problem::new(ProblemKind::Invalid, "body: an array, where a JSON object is expected");
        return Err(problem.hint("/openapi.json describes what the body may hold").into());
    }
    Ok(value)
}

fn wrong(place: &str, error: &serde_json::Error) -> Refusal {
    let problem = Problem::new(ProblemKind::Invalid, format!("{place}: {error}"));
    problem.hint("/openapi.json describes what the body may hold").into()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::api::{SlotUpdate, SwitchRequest};

    async fn switch(body: impl Into<Body>) -> Result<SwitchRequest, Refusal> {
        or_default(Request::new(body.into())).await
    }

    async fn message(body: &str) -> String {
        let problem = switch(body.to_owned()).await.unwrap_err().0;
        assert_eq!(problem.error, ProblemKind::Invalid);
        problem.message
    }

    #[tokio::test]
    async fn an_empty_body_asks_for_the_default_where_there_is_one() {
        assert_eq!(switch("").await.unwrap(), SwitchRequest::default());
        assert_eq!(switch(" \r\n").await.unwrap(), SwitchRequest::default());
        assert!(switch("{\"force\":true}").await.unwrap().force);
        required::<SlotUpdate>(Request::new(Body::empty())).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_wrong_body_is_refused_with_its_place() {
        assert_eq!(
            message("{\n  \"if_generation\": \"7\"}").await,
            "body, key if_generation: invalid type: string \"7\", expected u64 at line 2 column 22"
        );
        let unknown = message("{\"too\":\"green\"}").await;
        assert!(unknown.starts_with("body, key too: unknown field `too`, expected one of `to`,"), "{unknown}");
        assert_eq!(message("{} {}").await, "body: trailing characters at line 1 column 4");
        assert_eq!(message("{\"force\"").await, "body: EOF while parsing an object at line 1 column 8");
        assert!(message("[").await.contains("line 1 column 1"));
        assert_eq!(message("[\"green\", 7]").await, "body: an array, where a JSON object is expected");
    }

    #[tokio::test]
    async fn an_endpoint_that_is_neither_form_is_refused() {
        for wrong in ["7", "{\"htpp\":\"http://a\"}", "{\"http\":\"http://a\",\"grcp\":\"h2c://b\"}"] {
            let body = format!("{{\"endpoints\":[\"http://a\",{wrong}]}}");
            let problem = required::<SlotUpdate>(Request::new(body.into())).await.unwrap_err().0;
            assert!(problem.message.starts_with("body, key endpoints[1]: an endpoint is a URL"), "{}", problem.message);
        }
    }

    #[tokio::test]
    async fn a_large_body_is_refused() {
        let refusal = switch(" ".repeat(BODY_BYTES_MAX + 1)).await.unwrap_err();
        assert_eq!(refusal.0.error, ProblemKind::TooLarge);
        assert_eq!(switch(" ".repeat(BODY_BYTES_MAX)).await.unwrap(), SwitchRequest::default());
    }
}
