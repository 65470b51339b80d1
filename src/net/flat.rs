//! Small pieces of a message, written as one.
//!
//! A head and a short body come as two pieces. To copy them together costs a few nanoseconds; to let the kernel gather
//! them (`writev`) costs it some two hundred more than one plain `send`, and every request writes twice.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncWrite, ReadBuf};

/// Above this many bytes the copy costs more than the kernel's gathering.
const BYTES_MAX: usize = 4096;

/// Like `poll_write_vectored`, with one plain write where the pieces are one or small. As there, a part may be written.
pub fn poll_write_pieces<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    pieces: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [piece] = pieces {
        return stream.poll_write(cx, piece);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > BYTES_MAX {
        return stream.poll_write_vectored(cx, pieces);
    }
    let mut space = [const { MaybeUninit::uninit() }; BYTES_MAX];
    let mut flat = ReadBuf::uninit(&mut space);
    pieces.iter().for_each(|piece| flat.put_slice(piece));
    stream.poll_write(cx, flat.filled())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Notes in how many pieces it was written to.
    #[derive(Default)]
    struct Sink {
        bytes: Vec<u8>,
        pieces: Vec<usize>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.bytes.extend_from_slice(buf);
            self.pieces.push(1);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            bufs.iter().for_each(|buf| self.bytes.extend_from_slice(buf));
            self.pieces.push(bufs.len());
            Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Fails when: small pieces are gathered by the kernel, large ones are copied, or a byte is lost or out of order.
    #[test]
    fn small_pieces_are_written_as_one() {
        let mut cx = Context::from_waker(Waker::noop());
        let large = vec![b'l'; BYTES_MAX];
        for (pieces, written_in) in [
            (vec![&b"head"[..], b"", b"body"], 1),
            (vec![&large[..]], 1),
            (vec![&b"h"[..], &large[..]], 2),
            (vec![], 1),
        ] {
            let mut sink = Sink::default();
            let slices: Vec<_> = pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
            let bytes = pieces.concat();
            let Poll::Ready(Ok(written)) = poll_write_pieces(&mut sink, &mut cx, &slices) else { panic!("it waits") };
            assert_eq!((written, &sink.bytes), (bytes.len(), &bytes));
            assert_eq!(sink.pieces, [written_in]);
        }
    }
}
