//! A client of the admin API: one connection for each call, over TCP, TLS or a unix socket.

use std::{future::Future, io, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    address::AdminAddress,
    args::ClientOptions,
    error::CliError,
    secure::{Secure, unknown_caller},
};

/// A client of one admin API.
#[derive(Debug)]
pub(super) struct Client {
    admin: AdminAddress,
    actor: HeaderValue,
    authorization: Option<HeaderValue>,
    /// For an address that begins with https.
    secure: Option<Secure>,
}

/// An answer, understood and as it came.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) status: u16,
    pub(super) value: T,
    pub(super) json: String,
}

impl Client {
    /// Reads the token and certificates; connects to nothing yet.
    pub(super) fn new(options: &ClientOptions, user: Option<&str>) -> Result<Self, CliError> {
        let authorization = options.token_file.as_ref().map(|path| {
            let text =
                std::fs::read_to_string(path).map_err(|source| CliError::TokenFile { path: path.clone(), source })?;
            bearer(text.trim()).ok_or_else(|| CliError::BadToken { path: path.clone() })
        });
        let authorization = authorization.transpose()?;
        let secure = match &options.admin {
            AdminAddress::Tls { authority } => Some(Secure::new(options, authority)?),
            AdminAddress::Tcp { .. } | AdminAddress::Unix(_) => None,
        };
        Ok(Self { admin: options.admin.clone(), actor: actor(user), authorization, secure })
    }

    /// Reads something; nothing changes.
    pub(super) async fn look<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<Answer<T>, CliError> {
        self.call(Method::GET, path, Bytes::new(), LOOK_TIME_MAX + wait).await
    }

    /// Changes something, or has a gate run. `wait` is how long the admin API was asked to wait, on top of the work.
    pub(super) async fn change<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        wait: Duration,
    ) -> Result<Answer<T>, CliError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| CliError::Output(error.into()))?;
        self.call(method, path, body.unwrap_or_default().into(), CHANGE_TIME_MAX + wait).await
    }

    /// Opens a stream of server-sent events. It ends when the other side says so, or breaks off.
    pub(super) async fn stream(&self, path: &str) -> Result<Exchange, CliError> {
        let exchange = self.begin(self.request(Method::GET, path, Bytes::new())?, LOOK_TIME_MAX).await?;
        if exchange.response.status().is_success() {
            return Ok(exchange);
        }
        let (status, text) = self.collect(exchange).await?;
        Err(self.refusal(status, text))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer<T>, CliError> {
        let request = self.request(method, path, body)?;
        let deadline = Instant::now() + CONNECT_TIME_MAX + within;
        let exchange = self.begin(request, within).await?;
        let (status, text) =
            timeout_at(deadline, self.collect(exchange)).await.map_err(|_elapsed| self.silent(within))??;
        self.understand(status, text)
    }

    /// Connects, asks, and reads the head of the answer.
    async fn begin(&self, request: Request<Full<Bytes>>, within: Duration) -> Result<Exchange, CliError> {
        let stream: Box<dyn Stream> = match &self.admin {
            AdminAddress::Tcp { authority } | AdminAddress::Tls { authority } => {
                let stream = self.connect(TcpStream::connect(authority)).await?;
                match &self.secure {
                    None => Box::new(stream),
                    Some(secure) => {
                        let shaken = timeout(within, secure.shake_hands(&self.admin, stream)).await;
                        Box::new(shaken.map_err(|_elapsed| self.silent(within))??)
                    }
                }
            }
            AdminAddress::Unix(path) => Box::new(self.connect(UnixStream::connect(path)).await?),
        };
        timeout(within, self.exchange(stream, request)).await.map_err(|_elapsed| self.silent(within))?
    }

    fn silent(&self, within: Duration) -> CliError {
        CliError::Silent { admin: self.admin.clone(), within }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, CliError> {
        let host = match &self.admin {
            AdminAddress::Tcp { authority } | AdminAddress::Tls { authority } => authority,
            AdminAddress::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .header("x-verdigris-actor", &self.actor);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| CliError::Usage(format!("cannot ask for {path}: {error}")))
    }

    async fn connect<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> Result<S, CliError> {
        let unreachable = |cause| CliError::Unreachable { admin: self.admin.clone(), cause };
        match timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(unreachable(in_words(&error))),
            Err(_elapsed) => {
                Err(unreachable(format!("no connection within {}", humantime::format_duration(CONNECT_TIME_MAX))))
            }
        }
    }

    async fn exchange(&self, stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<Exchange, CliError> {
        let lost = |error: hyper::Error| {
            let unknown = unknown_caller(&self.admin, &error);
            unknown.unwrap_or_else(|| CliError::Lost { admin: self.admin.clone(), cause: chain(&error) })
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // The exchange itself reports what goes wrong on its connection.
        let connection = Connection(tokio::spawn(async move { drop(connection.await) }));
        let response = sender.send_request(request).await.map_err(lost)?;
        Ok(Exchange { response, _connection: connection })
    }

    async fn collect(&self, exchange: Exchange) -> Result<(u16, String), CliError> {
        let status = exchange.response.status().as_u16();
        let body = Limited::new(exchange.response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes =
            body.map_err(|error| CliError::Lost { admin: self.admin.clone(), cause: error.to_string() })?.to_bytes();
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn understand<T: DeserializeOwned>(&self, status: u16, json: String) -> Result<Answer<T>, CliError> {
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, json));
        }
        let value = serde_json::from_str(&json).map_err(|error| self.foreign(status, &error))?;
        Ok(Answer { status, value, json })
    }

    fn refusal(&self, status: u16, json: String) -> CliError {
        match serde_json::from_str(&json) {
            Ok(problem) => CliError::Problem { problem, json },
            Err(error) => self.foreign(status, &error),
        }
    }

    fn foreign(&self, status: u16, error: &serde_json::Error) -> CliError {
        CliError::Foreign { admin: self.admin.clone(), status, cause: error.to_string() }
    }
}

/// What an exchange runs over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    _connection: Connection,
}

/// The task that drives a connection, which ends with what it was opened for.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who asks, for the journal. The name comes from the environment, so it is cut down to what a name needs.
fn actor(user: Option<&str>) -> HeaderValue {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let name: String = user.unwrap_or_default().chars().filter(plain).take(ACTOR_CHARS_MAX).collect();
    let text = if name.is_empty() { "cli".to_owned() } else { format!("cli {name}") };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("cli"))
}

fn bearer(token: &str) -> Option<HeaderValue> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The usual failures without the system's numbering.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Hyper says only its own level; the reason stands below it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const LOOK_TIME_MAX: Duration = Duration::from_secs(30);
/// A gate may take minutes: its limits are the operator's. This is only for an admin API that hangs.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(30 * 60);
const ANSWER_BYTES_MAX: usize = 64 << 20;
const ACTOR_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_is_a_plain_name() {
        assert_eq!(actor(Some("alice")), "cli alice");
        assert_eq!(actor(Some("al ice\r\nx: y\u{1b}[1m")), "cli alicexy1m");
        assert_eq!(actor(Some("\u{e4}")), "cli");
        assert_eq!(actor(None), "cli");
        assert_eq!(actor(Some(&"x".repeat(100))).len(), 68);
    }

    #[test]
    fn a_token_is_one_visible_word() {
        assert!(bearer("s3cret+/=").is_some_and(|value| value.is_sensitive() && value == "Bearer s3cret+/="));
        for bad in ["", "two words", "a\nb", "\u{e4}"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }
}
