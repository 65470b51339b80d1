//! Requests of a gate to an endpoint, changed and sent as live traffic is, read within bounds.
//!
//! The way upstream is the same as far as a server can tell: address, name look-up, TLS and the protocol's settings, the rules
//! of `[service.request]`, the form of the head. The worker's pools are not used, for they belong to its thread.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1::SendRequest as Http1Sender, http2::SendRequest as Http2Sender},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    task::JoinSet,
    time::{Instant as Deadline, timeout_at},
};

use super::golden::{Answer, AnswerEnd, Arrival, Request};
use crate::{
    config::settings::{ServiceSettings, UpstreamProtocol},
    upstream::{self, Endpoint, Target, http1_builder, http2_builder},
};

/// How much may come of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// To the answer's last byte.
    pub(super) timeout: Duration,
    pub(super) answer_bytes_max: u64,
}

/// No answer came; why.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) reason: String,
    pub(super) took: Duration,
}

/// A connection to an endpoint, which takes one request after the other. Dropping it closes it.
pub(super) struct Line {
    sender: Sender,
    /// Carries the connection until it is dropped.
    _carrier: JoinSet<()>,
}

enum Sender {
    Http1(Http1Sender<Full<Bytes>>),
    Http2(Http2Sender<Full<Bytes>>),
}

/// The address of the endpoint that takes such a request.
///
/// # Errors
/// It has none; why.
pub(super) fn address<'e>(endpoint: &'e Endpoint, request: &Request) -> Result<&'e Target, &'static str> {
    if !request.is_grpc() {
        return endpoint.http().ok_or("the endpoint has no HTTP address");
    }
    let target = endpoint.grpc().filter(|target| target.protocol() == UpstreamProtocol::H2c);
    target.ok_or("the endpoint has no address that speaks gRPC")
}

/// Sends one request on a connection of its own. Ends within `bounds.timeout`, connecting included. Dropping the
/// future closes the connection.
///
/// # Errors
/// No answer came; why.
pub(super) async fn ask(
    target: &Target,
    request: &Request,
    settings: &ServiceSettings,
    bounds: Bounds,
) -> Result<Answer, Unanswered> {
    let asked = Instant::now();
    let connecting = Line::open(target, settings.timeouts.connect.min(bounds.timeout)).await;
    let mut line = connecting.map_err(|reason| Unanswered { reason, took: asked.elapsed() })?;
    // The time that connecting took is a part of it.
    let bounds = Bounds { timeout: bounds.timeout.saturating_sub(asked.elapsed()), ..bounds };
    line.ask(target, request, settings, bounds).await
}

impl Line {
    /// Connects, TLS handshake included.
    ///
    /// # Errors
    /// There is no connection; why.
    pub(super) async fn open(target: &Target, within: Duration) -> Result<Self, String> {
        let stream = target.connect(within).await.map_err(|error| format!("no connection: {error}"))?;
        let (io, mut carrier) = (TokioIo::new(stream), JoinSet::new());
        let failed = |error| format!("no connection: {}", in_words(&error));
        let sender = match target.protocol() {
            UpstreamProtocol::Http1 => {
                let (sender, connection) = http1_builder().handshake(io).await.map_err(failed)?;
                carrier.spawn(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
            UpstreamProtocol::H2c => {
                let shaken = http2_builder(TokioExecutor::new()).handshake(io).await;
                let (sender, connection) = shaken.map_err(failed)?;
                carrier.spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender, _carrier: carrier })
    }

    /// Sends a request, by the service's rules, and reads what comes. An answer whose head came is an
    /// answer, however it ends. Ends within `bounds.timeout`. After dropping the future the line is of no more use.
    ///
    /// # Errors
    /// No answer came; why.
    pub(super) async fn ask(
        &mut self,
        target: &Target,
        request: &Request,
        settings: &ServiceSettings,
        bounds: Bounds,
    ) -> Result<Answer, Unanswered> {
        let (sent, until) = (Instant::now(), Deadline::now() + bounds.timeout.min(TIMEOUT_MAX));
        let unanswered = |reason| Unanswered { reason, took: sent.elapsed() };
        let head =
            build(target, request, settings).map_err(|error| unanswered(format!("it cannot be sent: {error}")))?;
        match timeout_at(until, self.send(head)).await {
            Ok(Ok(response)) => {
                target.note_answer(&response);
                Ok(read(response, sent, until, bounds).await)
            }
            Ok(Err(error)) => Err(unanswered(format!("no answer: {}", in_words(&error)))),
            Err(_elapsed) => {
                let limit = humantime::format_duration(whole_millis(bounds.timeout));
                Err(unanswered(format!("nothing within {limit}")))
            }
        }
    }

    async fn send(&mut self, request: http::Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        }
    }

    /// Waits until it takes another request, which it does once an answer was read to its end; false if the server has
    /// closed it.
    pub(super) async fn is_kept(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// The request as live traffic brings it to this address: by the service's rules, in the protocol's form.
///
/// # Errors
/// It cannot be sent there; why.
fn build(target: &Target, request: &Request, settings: &ServiceSettings) -> Result<http::Request<Full<Bytes>>, String> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method.clone_from(&request.method);
    head.uri = request.path.clone().into();
    head.headers.clone_from(&request.headers);
    let host = host(target, settings);
    head.headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_odd| format!("the host {host:?}"))?);
    head.headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    upstream::apply(&settings.request, &mut head)
        .map_err(|invalid| format!("the path without its prefix: {invalid}"))?;
    match target.protocol() {
        UpstreamProtocol::Http1 if request.body.is_empty() => upstream::declare_no_body(&mut head),
        UpstreamProtocol::Http1 => {}
        UpstreamProtocol::H2c => upstream::to_http2(&mut head, target.scheme(), &target.authority)
            .map_err(|invalid| format!("over HTTP/2: {invalid}"))?,
    }
    Ok(http::Request::from_parts(head, Full::new(request.body.clone())))
}

/// What clients have in `Host`, where the service takes no other; else the endpoint's own name. The service's rules may
/// replace it.
fn host<'h>(target: &'h Target, settings: &'h ServiceSettings) -> &'h str {
    settings.rule.host.as_deref().filter(|host| !host.starts_with('*')).unwrap_or(&target.authority)
}

/// What was read so far.
#[derive(Default)]
struct Taken {
    body: BytesMut,
    trailers: HeaderMap,
    arrivals: Vec<Arrival>,
}

async fn read(response: Response<Incoming>, sent: Instant, until: Deadline, bounds: Bounds) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut taken = Taken::default();
    let end = match timeout_at(until, take(&mut body, &mut taken, sent, bounds.answer_bytes_max)).await {
        Ok(end) => end,
        Err(_elapsed) => AnswerEnd::TimedOut(whole_millis(bounds.timeout)),
    };
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        trailers: taken.trailers,
        body: taken.body.freeze(),
        arrivals: taken.arrivals,
        end,
        took: sent.elapsed(),
    }
}

async fn take(body: &mut Incoming, into: &mut Taken, sent: Instant, bytes_max: u64) -> AnswerEnd {
    if body.size_hint().lower() > bytes_max {
        return AnswerEnd::TooLong(bytes_max);
    }
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return AnswerEnd::Cut(in_words(&error)),
        };
        match frame.into_data() {
            Ok(data) if (into.body.len() + data.len()) as u64 > bytes_max => return AnswerEnd::TooLong(bytes_max),
            Ok(data) => {
                into.body.extend_from_slice(&data);
                Arrival { until: into.body.len(), at: sent.elapsed() }.note(&mut into.arrivals);
            }
            Err(other) => into.trailers.extend(other.into_trailers().unwrap_or_default()),
        }
    }
    AnswerEnd::Complete
}

/// With its cause, which says more.
fn in_words(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// What was left of a limit is told without its nanoseconds.
pub(super) fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

const USER_AGENT: &str = "verdigris-gate";
/// Within what a clock can be told.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
