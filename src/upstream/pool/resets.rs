//! Makes a server's RST_STREAM with NO_ERROR inside an answer visible.
//!
//! NO_ERROR may follow a complete answer: the rest of the request is not wanted (RFC 9113 section 8.1). hyper takes it
//! for the end of an answer that is not complete, too, and a cut answer would look whole. So its code is changed to
//! INTERNAL_ERROR on the wire, before the HTTP library sees it, where no END_STREAM came before.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const INTERNAL_ERROR: u8 = 2;
/// Streams whose end is remembered: a reset that belongs to it comes right behind.
const ENDED_MAX: usize = 64;

/// A stream of HTTP/2 frames, read through.
#[derive(Debug)]
pub(super) struct Resets<T> {
    stream: T,
    scan: Scan,
}

/// Where in the frames the last read ended.
#[derive(Debug, Default)]
struct Scan {
    head: [u8; 9],
    head_bytes: usize,
    payload_left: usize,
    /// The payload is the code of a reset inside an answer; so far it was zero.
    zero_code: bool,
    ended: VecDeque<u32>,
}

impl<T> Resets<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, scan: Scan::default() }
    }
}

impl Scan {
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = if self.payload_left > 0 { self.payload(bytes) } else { self.head(bytes) };
            bytes = &mut bytes[taken..];
        }
    }

    fn payload(&mut self, bytes: &mut [u8]) -> usize {
        let taken = bytes.len().min(self.payload_left);
        self.payload_left -= taken;
        if self.zero_code {
            self.zero_code = bytes[..taken].iter().all(|byte| *byte == 0);
            if self.zero_code && self.payload_left == 0 {
                bytes[taken - 1] = INTERNAL_ERROR;
                self.zero_code = false;
            }
        }
        taken
    }

    fn head(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.head.len() - self.head_bytes);
        self.head[self.head_bytes..][..taken].copy_from_slice(&bytes[..taken]);
        self.head_bytes += taken;
        if self.head_bytes == self.head.len() {
            self.head_bytes = 0;
            self.begin_payload();
        }
        taken
    }

    fn begin_payload(&mut self) {
        let [high, middle, low, kind, flags, id @ ..] = self.head;
        let stream = u32::from_be_bytes(id) & 0x7fff_ffff;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.zero_code = kind == RST_STREAM && self.payload_left == 4 && !self.ended.contains(&stream);
        if (kind == DATA || kind == HEADERS) && flags & END_STREAM != 0 {
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(stream);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Resets<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.scan.pass(&mut buf.filled_mut()[before..]);
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Resets<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    #[test]
    fn only_a_reset_without_an_error_inside_an_answer_changes() {
        let reset = |stream, code| frame(RST_STREAM, 0, stream, &[0, 0, 0, code]);
        let before =
            [frame(HEADERS, 4, 1, b"hh"), frame(DATA, 0, 1, b"half"), frame(DATA, END_STREAM, 3, b"all")].concat();
        let given = [before.clone(), reset(1, 0), reset(3, 0), reset(5, 8), frame(6, 0, 0, &[0; 4])].concat();
        let wanted = [before, reset(1, 2), reset(3, 0), reset(5, 8), frame(6, 0, 0, &[0; 4])].concat();
        for size in 1..given.len() {
            let mut bytes = given.clone();
            let mut scan = Scan::default();
            bytes.chunks_mut(size).for_each(|part| scan.pass(part));
            assert_eq!(bytes, wanted, "read {size} bytes at a time");
        }
    }
}
