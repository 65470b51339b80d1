//! The tables of the process: `[proxy]`, `[admin]`, `[state]`, `[log]`.

use std::{net::SocketAddr, path::Path, path::PathBuf, thread};

use tracing_subscriber::EnvFilter;

use super::{Check, Span};
use crate::config::{
    defaults,
    endpoint::UNIX_PATH_BYTES_MAX,
    schema,
    settings::{
        AccessLog, AdminListen, AdminSettings, Limits, LogFormat, LogSettings, ProxySettings, ShutdownSettings,
        TlsSettings,
    },
};

impl Check<'_> {
    pub(super) fn proxy(&mut self, given: &schema::Proxy) -> ProxySettings {
        ProxySettings {
            listen: self.proxy_listen(given),
            workers: match self.whole(&given.workers, 0..=WORKERS_MAX, 0) {
                0 => thread::available_parallelism().map_or(1, usize::from),
                count => count,
            },
            defer_accept: given.defer_accept.as_ref().map_or(defaults::DEFER_ACCEPT, |given| *given.get_ref()),
            trusted_proxies: self.networks(&given.trusted_proxies),
            proxy_protocol: self.networks(&given.proxy_protocol),
            tls: given.tls.as_ref().and_then(|tls| self.tls(tls)),
            limits: self.limits(&given.limits),
            shutdown: self.shutdown(&given.shutdown),
            access_log: self.access_log(given),
        }
    }

    fn proxy_listen(&mut self, given: &schema::Proxy) -> SocketAddr {
        let default = defaults::PROXY_LISTEN;
        given.listen.as_ref().map_or(default, |listen| self.socket(listen.span(), listen.get_ref(), default))
    }

    /// The lower bound of `header_bytes_max` is the HTTP engine's own.
    fn limits(&mut self, given: &schema::Limits) -> Limits {
        let default = defaults::LIMITS;
        Limits {
            header_timeout: self.positive(&given.header_timeout, default.header_timeout),
            idle_timeout: self.positive(&given.idle_timeout, default.idle_timeout),
            body_timeout: self.unless_off(&given.body_timeout, default.body_timeout),
            send_timeout: self.unless_off(&given.send_timeout, default.send_timeout),
            header_bytes_max: self.size(&given.header_bytes_max, 8 << 10..=16 << 20, default.header_bytes_max),
            headers_max: self.whole(&given.headers_max, 1..=10_000, default.headers_max),
            streams_max: self.whole(&given.streams_max, 1..=1_000_000, default.streams_max),
            resets_max: self.whole(&given.resets_max, 1..=1_000_000, default.resets_max),
            connections_max: self.whole(&given.connections_max, 1..=10_000_000, default.connections_max),
            replay_buffer_total: self.size(&given.replay_buffer_total, 0..=1 << 40, default.replay_buffer_total),
        }
    }

    fn shutdown(&mut self, given: &schema::Shutdown) -> ShutdownSettings {
        let default = defaults::SHUTDOWN;
        ShutdownSettings {
            delay: self.duration(&given.delay, default.delay),
            linger: self.duration(&given.linger, default.linger),
            deadline: self.unless_off(&given.deadline, default.deadline),
        }
    }

    fn access_log(&mut self, given: &schema::Proxy) -> AccessLog {
        match self.filled(&given.access_log) {
            None | Some("off") => AccessLog::Off,
            Some("stdout") => AccessLog::Stdout,
            Some(path) => AccessLog::File(self.beside_the_file(path)),
        }
    }

    pub(super) fn admin(&mut self, given: &schema::Admin) -> AdminSettings {
        let token_file = self.filled(&given.token_file).map(|path| self.beside_the_file(path));
        let tls = given.tls.as_ref().and_then(|tls| self.tls(tls));
        let Some(listen) = &given.listen else {
            return AdminSettings { listen: AdminListen::Tcp(defaults::ADMIN_LISTEN), token_file, tls };
        };
        let knows_callers = token_file.is_some() || tls.as_ref().is_some_and(TlsSettings::knows_clients);
        let span = listen.span();
        let listen = match listen.get_ref().strip_prefix("unix:") {
            Some(path) => {
                if let Some(tls) = &given.tls {
                    let hint = "take the table out; only the socket's owner can connect to it";
                    self.warn(tls.span(), "a unix socket is not spoken to over TLS", hint);
                }
                AdminListen::Unix(self.socket_path(span, path))
            }
            None => AdminListen::Tcp(self.admin_address(span, listen.get_ref(), knows_callers)),
        };
        AdminSettings { listen, token_file, tls }
    }

    fn admin_address(&mut self, span: Span, text: &str, knows_callers: bool) -> SocketAddr {
        let address = self.socket(span.clone(), text, defaults::ADMIN_LISTEN);
        if !address.ip().to_canonical().is_loopback() && !knows_callers {
            let message = format!("{address} is open to the network, and there is no `token_file`");
            let hint = "add `token_file` or `tls.client_ca`, or listen on 127.0.0.1 or a unix: socket";
            self.refuse(span, message, hint);
        }
        address
    }

    fn socket_path(&mut self, span: Span, path: &str) -> PathBuf {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !Path::new(path).is_absolute() || path.len() > UNIX_PATH_BYTES_MAX || path.ends_with('/') {
            let message = format!("{path:?} is not an absolute socket path of at most {UNIX_PATH_BYTES_MAX} bytes");
            self.refuse(span, message, "write such as \"unix:/run/verdigris.sock\"");
        }
        PathBuf::from(path)
    }

    pub(super) fn state_dir(&mut self, given: &schema::State) -> PathBuf {
        let dir = self.filled(&given.dir).unwrap_or(defaults::STATE_DIR);
        self.beside_the_file(dir)
    }

    pub(super) fn log(&mut self, given: &schema::Log) -> LogSettings {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let filter = self.filled(&given.filter).unwrap_or(defaults::LOG_FILTER).to_owned();
        if let (Err(_), Some(given)) = (EnvFilter::try_new(&filter), &given.filter) {
            let hint = "write a level (error, warn, info, debug, trace) or such as \"info,verdigris::proxy=debug\"";
            self.refuse(given.span(), format!("{filter:?} is not a log filter"), hint);
        }
        LogSettings { format: self.word("log format", &given.format, &formats, LogFormat::Text), filter }
    }
}

/// Far above any machine's cores: a larger number is a slip.
const WORKERS_MAX: i64 = 1024;
