use std::{collections::VecDeque, task::Waker};

use proptest::prelude::*;

use super::*;

/// Takes so many bytes at each write; `None`: has no room this time. Without an entry it takes all.
#[derive(Default)]
struct Sink {
    takes: VecDeque<Option<usize>>,
    bytes: Vec<u8>,
    writes: usize,
    broken: bool,
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(most) = self.takes.pop_front().unwrap_or(Some(usize::MAX)) else { return Poll::Pending };
        let taken: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(most).collect();
        self.bytes.extend_from_slice(&taken);
        self.writes += 1;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn write(stream: &mut Gathered<Sink>, pieces: &[&[u8]]) -> Poll<io::Result<usize>> {
    let slices: Vec<_> = pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
    Pin::new(stream).poll_write_vectored(&mut Context::from_waker(Waker::noop()), &slices)
}

fn flush(stream: &mut Gathered<Sink>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(&mut Context::from_waker(Waker::noop()))
}

fn push(stream: &Gathered<Sink>) {
    stream.push(&mut Context::from_waker(Waker::noop()));
}

/// How many writes there were, and of how many bytes in all.
fn seen(stream: &Gathered<Sink>) -> (usize, usize) {
    let sink = &stream.0.borrow().stream;
    (sink.writes, sink.bytes.len())
}

/// Fails when: small frames are written one by one, a large one is kept or copied, or memory stays behind.
#[test]
fn a_turn_is_one_write() {
    let mut stream = Gathered::new(Sink::default());
    for _ in 0..5 {
        assert!(write(&mut stream, &[b"head", b"body"]).is_ready());
        assert!(flush(&mut stream).is_ready());
    }
    assert_eq!(seen(&stream), (0, 0));
    push(&stream);
    assert_eq!(seen(&stream), (1, 40));
    assert_eq!(stream.0.borrow().waiting.capacity(), 0);
    assert!(write(&mut stream, &[b"small"]).is_ready());
    assert!(write(&mut stream, &[b"head", &[b'l'; PIECE_MAX]]).is_ready());
    assert_eq!(seen(&stream), (2, 40 + 5 + 4 + PIECE_MAX), "the large one takes along what waits");
}

/// Fails when: what waits is without bound, or a client that takes nothing goes unnoticed.
#[test]
fn a_full_stream_is_told() {
    let mut stream = Gathered::new(Sink { takes: [None; 100].into(), ..Sink::default() });
    let mut taken = 0;
    while write(&mut stream, &[&[b'x'; 1000]]).is_ready() {
        taken += 1000;
        push(&stream);
        assert!(taken <= WAITING_MAX);
    }
    stream.0.borrow_mut().stream.takes.clear();
    let _ = flush(&mut stream);
    push(&stream);
    assert_eq!(seen(&stream), (1, taken));
}

/// Fails when: a failed write is forgotten, or a turn that is not the connection's pushes.
#[test]
fn a_failure_is_told_in_the_next_turn() {
    let mut stream = Gathered::new(Sink { broken: true, ..Sink::default() });
    assert!(write(&mut stream, &[b"frame"]).is_ready());
    push(&stream);
    assert!(matches!(flush(&mut stream), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    assert!(matches!(write(&mut stream, &[b"frame"]), Poll::Ready(Err(_))));

    let mut stream = Gathered::new(Sink::default());
    assert!(write(&mut stream, &[b"frame"]).is_ready());
    stream.0.borrow_mut().touched = false;
    push(&stream);
    assert_eq!(seen(&stream), (0, 0));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut stream).poll_shutdown(&mut cx).is_ready(), "the end takes all along");
    assert_eq!(seen(&stream), (1, 5));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Fails when: a byte is lost, doubled or out of order, whatever the stream takes at a time.
    #[test]
    fn bytes_keep_their_order(
        sizes in prop::collection::vec(prop_oneof![1usize..300, 1usize..20_000], 1..20),
        takes in prop::collection::vec(prop::option::of(1usize..20_000), 0..40),
        pushes in prop::collection::vec(any::<bool>(), 20),
    ) {
        let mut stream = Gathered::new(Sink { takes: takes.into(), ..Sink::default() });
        let all: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|index| (index % 251) as u8).collect();
        let mut rest = &all[..];
        for (size, pushed) in sizes.into_iter().zip(pushes) {
            let (mut piece, after) = rest.split_at(size);
            rest = after;
            while !piece.is_empty() {
                let (head, body) = piece.split_at(piece.len().min(9));
                if let Poll::Ready(taken) = write(&mut stream, &[head, body]) {
                    piece = &piece[taken.unwrap()..];
                }
            }
            if pushed {
                push(&stream);
            }
        }
        for _ in 0..60 {
            let _ = flush(&mut stream);
            push(&stream);
        }
        prop_assert!(stream.0.borrow().stream.bytes == all);
    }
}
