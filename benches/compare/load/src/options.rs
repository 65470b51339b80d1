//! `ADDR… key=value…`

use std::{collections::HashMap, net::SocketAddr, str::FromStr};

use anyhow::{Context as _, Result};

/// What stood on the command line.
pub struct Options {
    pub addresses: Vec<SocketAddr>,
    named: HashMap<String, String>,
}

impl Options {
    pub fn new(words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut addresses, mut named) = (Vec::new(), HashMap::new());
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => drop(named.insert(key.to_owned(), value.to_owned())),
                None => addresses.push(word.parse().with_context(|| format!("{word:?} is not an address"))?),
            }
        }
        Ok(Self { addresses, named })
    }

    /// The only address.
    pub fn address(&self) -> Result<SocketAddr> {
        self.addresses.first().copied().context("an address is missing")
    }

    pub fn text(&self, key: &str, default: &str) -> String {
        self.named.get(key).map_or(default, String::as_str).to_owned()
    }

    pub fn number<N: FromStr>(&self, key: &str, default: N) -> Result<N> {
        let Some(text) = self.named.get(key) else { return Ok(default) };
        text.parse().map_err(|_| anyhow::anyhow!("{key}={text}: not a number that fits"))
    }

    /// The request that the clients send: a GET of `path`, or a POST if there is a `body`.
    pub fn request(&self, last: bool) -> Vec<u8> {
        let (path, body) = (self.text("path", "/"), self.text("body", ""));
        let method = if body.is_empty() { "GET" } else { "POST" };
        let content = match body.len() {
            0 => String::new(),
            length => format!("content-type: application/json\r\ncontent-length: {length}\r\n"),
        };
        let close = if last { "connection: close\r\n" } else { "" };
        format!("{method} {path} HTTP/1.1\r\nhost: model.test\r\n{content}{close}\r\n{body}").into_bytes()
    }
}
