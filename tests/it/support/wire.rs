//! HTTP/1.1 bytes on a socket, read by hand, so that a test sees exactly what crossed the wire: the case of a header
//! name, a repeated field, a missing last chunk. Both the fake model server and the raw client stand on it.

use std::{io, net::SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Header fields as they came: name in its own case, value as bytes.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// A socket and what was read from it too early.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: BytesMut,
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self { stream, buffer: BytesMut::with_capacity(16 * 1024) }
    }

    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect(addr).await?))
    }

    /// Reads more into the buffer; 0 is the end of the stream. Safe to drop half-way.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(16 * 1024);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn fill_or_cut(&mut self, inside: &str) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed inside {inside}"))),
            _ => Ok(()),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The bytes of the next head, empty line included; `None` if the peer closed before its first byte.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(Some(self.buffer.split_to(end + 4).freeze()));
            }
            if self.buffer.is_empty() {
                if self.fill().await? == 0 {
                    return Ok(None);
                }
            } else {
                self.fill_or_cut("a head").await?;
            }
        }
    }

    /// A line without its CRLF.
    pub(crate) async fn line(&mut self, inside: &str) -> io::Result<Bytes> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            self.fill_or_cut(inside).await?;
        }
    }

    /// At least one and at most `limit` bytes.
    pub(crate) async fn some(&mut self, limit: u64, inside: &str) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill_or_cut(inside).await?;
        }
        let take = (self.buffer.len() as u64).min(limit);
        Ok(self.buffer.split_to(usize::try_from(take).unwrap()).freeze())
    }

    pub(crate) async fn exactly(&mut self, count: usize, inside: &str) -> io::Result<Bytes> {
        while self.buffer.len() < count {
            self.fill_or_cut(inside).await?;
        }
        Ok(self.buffer.split_to(count).freeze())
    }

    /// The data of the next chunk; empty for the last one, after which the trailers come.
    pub(crate) async fn chunk(&mut self) -> io::Result<Bytes> {
        let line = self.line("a chunk size").await?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(size).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let size = size.ok_or_else(|| malformed(format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok(Bytes::new());
        }
        let data = self.exactly(size, "a chunk").await?;
        match self.line("a chunk's end").await? {
            rest if rest.is_empty() => Ok(data),
            rest => Err(malformed(format!("{rest:?} after a chunk"))),
        }
    }

    /// The trailers after the last chunk.
    pub(crate) async fn trailers(&mut self) -> io::Result<Fields> {
        let mut fields = Fields::new();
        loop {
            let line = self.line("the trailers").await?;
            if line.is_empty() {
                return Ok(fields);
            }
            fields.push(field(&line)?);
        }
    }

    /// Closes with a reset, as a process that was killed does.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).ok();
    }
}

/// The first line of a head and its fields.
pub(crate) fn parse_head(head: &[u8]) -> io::Result<(String, Fields)> {
    let text = &head[..head.len() - 4];
    let mut lines = split_lines(text);
    let first = lines.next().unwrap_or_default();
    let fields = lines.map(field).collect::<io::Result<Fields>>()?;
    Ok((String::from_utf8_lossy(first).into_owned(), fields))
}

fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest?;
        let (line, after) = match find(now, b"\r\n") {
            Some(end) => (&now[..end], Some(&now[end + 2..])),
            None => (now, None),
        };
        rest = after;
        Some(line)
    })
}

fn field(line: &[u8]) -> io::Result<(String, Vec<u8>)> {
    let colon = find(line, b":").ok_or_else(|| malformed(format!("field {:?}", String::from_utf8_lossy(line))))?;
    let name = String::from_utf8_lossy(&line[..colon]).into_owned();
    Ok((name, line[colon + 1..].trim_ascii().to_vec()))
}

/// The values of a field, in order, as text.
pub(crate) fn values(fields: &Fields, name: &str) -> Vec<String> {
    let named = fields.iter().filter(|(each, _)| each.eq_ignore_ascii_case(name));
    named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

/// The one value of a field; several are joined by `, `.
pub(crate) fn value(fields: &Fields, name: &str) -> Option<String> {
    let all = values(fields, name);
    (!all.is_empty()).then(|| all.join(", "))
}

/// How the body after this head is framed; `otherwise` is what no length and no coding mean.
pub(crate) fn framing(fields: &Fields, otherwise: Framing) -> io::Result<Framing> {
    if value(fields, "transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked")) {
        return Ok(Framing::Chunked);
    }
    match value(fields, "content-length") {
        None => Ok(otherwise),
        Some(text) => text.parse().map(Framing::Length).map_err(|_bad| malformed(format!("content-length {text}"))),
    }
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

pub(crate) fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
