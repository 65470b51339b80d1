//! Frames as bytes (RFC 9113 section 4.1), and header blocks without any compression (RFC 7541 section 6.2.2).

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Header fields, pseudo-fields among them, in their order.
pub(crate) type List = Vec<(String, String)>;

/// A frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number at this place of the payload.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let each = list.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, &each.collect::<Vec<_>>())
}

pub(crate) fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, block)
}

pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub(crate) fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// One literal field, not indexed, not compressed, whatever its bytes.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(&mut bytes, text.len());
        bytes.extend_from_slice(text);
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(bytes: &mut Vec<u8>, number: usize) {
    if number < 127 {
        bytes.push(u8::try_from(number).unwrap());
        return;
    }
    bytes.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// A header block. The texts are Latin-1: `"\u{ff}"` is the byte 255.
pub(crate) fn block(list: &[(&str, &str)]) -> Vec<u8> {
    let latin1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>();
    list.iter().flat_map(|(name, value)| literal(&latin1(name), &latin1(value))).collect()
}

/// The four pseudo-fields of a request, and more fields.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let start = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "iris.test")];
    block(&[&start, more].concat())
}

/// A GET that ends with its head.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &request("GET", path, &[]))
}

/// A connection, seen frame by frame.
pub(crate) struct Link {
    pub(crate) socket: TcpStream,
    decoder: loona_hpack::Decoder<'static>,
}

impl Link {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).ok();
        Self { socket, decoder: loona_hpack::Decoder::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next frame; an error at the end, clean or not.
    pub(crate) async fn frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The fields of a HEADERS frame, and of the CONTINUATION frames that follow it.
    pub(crate) async fn fields(&mut self, first: &Frame) -> io::Result<List> {
        let mut block = first.payload.clone();
        if first.has(PADDED) {
            let padding = usize::from(block.remove(0));
            block.truncate(block.len() - padding);
        }
        if first.has(WITH_PRIORITY) {
            block.drain(..5);
        }
        let mut complete = first.has(END_HEADERS);
        while !complete {
            let more = self.frame().await?;
            assert_eq!((more.kind, more.stream), (CONTINUATION, first.stream));
            complete = more.has(END_HEADERS);
            block.extend(more.payload);
        }
        let list = self.decoder.decode(&block).map_err(|bad| io::Error::other(format!("{bad:?}")))?;
        let text = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect::<String>();
        Ok(list.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }
}

/// The value of a field.
pub(crate) fn field<'a>(list: &'a List, name: &str) -> Option<&'a str> {
    list.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
