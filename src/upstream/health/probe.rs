//! One probe of one endpoint.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    config::settings::{GrpcProbe, HealthSettings, HttpProbe, UpstreamProtocol},
    upstream::{Endpoint, Target, tls::tls_failure},
};

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    pub ready: bool,
    /// In words: what was asked, what came back.
    pub detail: String,
    pub took: Duration,
}

/// Bytes of a probe's answer that are read; more is not needed to judge it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks an endpoint, at each of its addresses, whether it is ready. Ends within `settings.timeout`.
pub async fn probe(endpoint: &Endpoint, settings: &HealthSettings) -> ProbeResult {
    let started = Instant::now();
    let verdict = match tokio::time::timeout(settings.timeout, ask(endpoint, settings)).await {
        Ok(verdict) => verdict,
        Err(_elapsed) => Err(format!("no answer within {}", humantime::format_duration(settings.timeout))),
    };
    let ready = verdict.is_ok();
    ProbeResult { ready, detail: verdict.unwrap_or_else(|why| why), took: started.elapsed() }
}

async fn ask(endpoint: &Endpoint, settings: &HealthSettings) -> Result<String, String> {
    let mut seen = Vec::new();
    if let Some(target) = endpoint.http() {
        seen.push(ask_http(target, settings).await?);
    }
    if let Some(target) = endpoint.own_grpc() {
        seen.push(ask_grpc(target, settings).await?);
    }
    Ok(seen.join(", "))
}

async fn ask_http(target: &Target, settings: &HealthSettings) -> Result<String, String> {
    match (&settings.http, target.protocol()) {
        // An HTTP/2 address that takes everything may well be a bare gRPC server.
        (_, UpstreamProtocol::H2c) if settings.grpc != GrpcProbe::Connect => ask_grpc(target, settings).await,
        (HttpProbe::Connect, _) => connect_only(target, settings).await,
        (HttpProbe::Get { path, statuses }, protocol) => {
            let what = format!("GET {path}");
            let request = request(Method::GET, path, target, protocol, Bytes::new());
            let request = request.map_err(|error| format!("{what} cannot be asked: {error}"))?;
            let answer = exchange(target, settings, request, protocol).await.map_err(|why| format!("{what}: {why}"))?;
            if statuses.contains(&answer.status) {
                Ok(format!("{what} answered {}", answer.status))
            } else {
                let ready: Vec<_> = statuses.iter().map(u16::to_string).collect();
                Err(format!("{what} answered {}, only {} is ready", answer.status, ready.join(" or ")))
            }
        }
    }
}

async fn connect_only(target: &Target, settings: &HealthSettings) -> Result<String, String> {
    target.connect(settings.timeout).await.map_err(|error| format!("connect failed: {error}"))?;
    Ok("connected (no readiness path is configured)".to_owned())
}

async fn ask_grpc(target: &Target, settings: &HealthSettings) -> Result<String, String> {
    let (path, name) = match settings.grpc {
        GrpcProbe::Connect => return connect_only(target, settings).await,
        GrpcProbe::V2 => ("/inference.GRPCInferenceService/ServerReady", "ServerReady"),
        GrpcProbe::Health => ("/grpc.health.v1.Health/Check", "grpc.health.v1 Check"),
    };
    // Both requests are empty messages: one uncompressed frame of length 0.
    let request = request(Method::POST, path, target, UpstreamProtocol::H2c, Bytes::from_static(&[0; 5]));
    let request = request.map_err(|error| format!("{name} cannot be asked: {error}"))?;
    let answer =
        exchange(target, settings, request, UpstreamProtocol::H2c).await.map_err(|why| format!("{name}: {why}"))?;
    // Both answers say "ready" as field 1 = 1 (`ready: true`, `status: SERVING`): bytes 08 01 after the frame's head.
    let ready = answer.body.get(5..7) == Some(&[0x08, 0x01]);
    match answer.grpc_status.as_deref() {
        Some("0") if ready => Ok(format!("{name} answered ready")),
        Some("0") => Err(format!("{name} answered not ready")),
        Some(status) => Err(format!("{name} answered grpc-status {status}")),
        None => Err(format!("{name} answered HTTP {} without a grpc-status", answer.status)),
    }
}

fn request(
    method: Method,
    path: &str,
    target: &Target,
    protocol: UpstreamProtocol,
    body: Bytes,
) -> http::Result<Request<Full<Bytes>>> {
    let builder = Request::builder().method(method).header(header::USER_AGENT, "verdigris-probe");
    let builder = match protocol {
        // No `Connection: close`, so that the answer tells whether the server would have kept the connection.
        UpstreamProtocol::Http1 => builder.uri(path).header(header::HOST, &target.authority),
        UpstreamProtocol::H2c => {
            builder.version(Version::HTTP_2).uri(format!("{}://{}{path}", target.scheme(), target.authority))
        }
    };
    let builder = if body.is_empty() {
        builder
    } else {
        builder.header(header::CONTENT_TYPE, "application/grpc").header(header::TE, "trailers")
    };
    builder.body(Full::new(body))
}

struct Answer {
    status: u16,
    grpc_status: Option<String>,
    body: Bytes,
}

/// One request on a connection of its own.
async fn exchange(
    target: &Target,
    settings: &HealthSettings,
    request: Request<Full<Bytes>>,
    protocol: UpstreamProtocol,
) -> Result<Answer, String> {
    let stream = target.connect(settings.timeout).await.map_err(|error| error.to_string())?;
    let io = TokioIo::new(stream);
    let failed = |error: hyper::Error| match tls_failure(&error) {
        Some(why) => format!("no TLS: {why}"),
        None => format!("no answer: {error}"),
    };
    let (answer, connection) = match protocol {
        UpstreamProtocol::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
            let task = tokio::spawn(async move { drop(connection.await) });
            (sender.send_request(request).await, task)
        }
        UpstreamProtocol::H2c => {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut sender, connection) = handshake.map_err(failed)?;
            let task = tokio::spawn(async move { drop(connection.await) });
            (sender.send_request(request).await, task)
        }
    };
    let read = match answer {
        Ok(answer) => {
            target.note_answer(&answer);
            read(answer).await
        }
        Err(error) => Err(failed(error)),
    };
    connection.abort();
    read
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16();
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let whole = whole.map_err(|error| format!("answered {status}, then broke off: {error}"))?;
    let trailer = whole.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    let grpc_status = trailer.or_else(|| head.headers.get("grpc-status").cloned());
    Ok(Answer {
        status,
        grpc_status: grpc_status.and_then(|value| value.to_str().ok().map(str::to_owned)),
        body: whole.to_bytes(),
    })
}
