//! `[proxy.tls]`, `[admin.tls]` and `[service.tls]`: which files, and whether they come in pairs. What stands in them is
//! read by whoever uses them.

use toml::Spanned;

use super::{Check, Span};
use crate::config::{
    endpoint::is_host_name,
    schema::{self, Given},
    settings::{ClientAuth, KeyPairFiles, TlsSettings, UpstreamTls},
};

impl Check<'_> {
    /// `None` if there is no certificate to serve with; that has been noted.
    pub(super) fn tls(&mut self, written: &Spanned<schema::Tls>) -> Option<TlsSettings> {
        let given = written.get_ref();
        let client_auth = self.client_auth(given);
        let first = self.key_pair(&given.cert, &given.key, written.span())?;
        let more = given.more.iter();
        let more = more.filter_map(|pair| self.key_pair(&pair.get_ref().cert, &pair.get_ref().key, pair.span()));
        Some(TlsSettings { certificates: std::iter::once(first).chain(more).collect(), client_auth })
    }

    fn client_auth(&mut self, given: &schema::Tls) -> Option<ClientAuth> {
        let words = [("required", true), ("optional", false)];
        let required = self.word("client_auth", &given.client_auth, &words, true);
        let ca = self.filled(&given.client_ca).map(|path| self.beside_the_file(path));
        if let (None, Some(auth)) = (&ca, &given.client_auth) {
            let hint = "add `client_ca`, the file with the certificates that sign your clients'";
            self.refuse(auth.span(), "nobody is named who signs client certificates", hint);
        }
        ca.map(|ca| ClientAuth { ca, required })
    }

    fn key_pair(&mut self, cert: &Given<String>, key: &Given<String>, whole: Span) -> Option<KeyPairFiles> {
        let paths = (self.filled(cert), self.filled(key));
        if let (Some(cert), Some(key)) = paths {
            return Some(KeyPairFiles { cert: self.beside_the_file(cert), key: self.beside_the_file(key) });
        }
        if cert.is_none() || key.is_none() {
            let missing = if cert.is_none() { "cert" } else { "key" };
            let hint = "write `cert = \"fullchain.pem\"` and `key = \"key.pem\"`";
            self.refuse(whole, format!("TLS needs a certificate and its key: there is no `{missing}`"), hint);
        }
        None
    }

    pub(super) fn upstream_tls(&mut self, given: &schema::UpstreamTls) -> UpstreamTls {
        let identity = [&given.cert, &given.key].into_iter().flatten().next().map(Spanned::span);
        UpstreamTls {
            ca: self.filled(&given.ca).map(|path| self.beside_the_file(path)),
            server_name: self.server_name(&given.server_name),
            identity: identity.and_then(|span| self.key_pair(&given.cert, &given.key, span)),
        }
    }

    fn server_name(&mut self, given: &Given<String>) -> Option<String> {
        let name = self.filled(given)?;
        if !is_host_name(name) && name.parse::<std::net::IpAddr>().is_err() {
            let span = given.as_ref().map_or(0..0, Spanned::span);
            self.refuse(
                span,
                format!("{name:?} is not a host name"),
                "write such as \"model.example.org\", without port",
            );
        }
        Some(name.to_ascii_lowercase())
    }
}
