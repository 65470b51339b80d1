use std::{
    future::poll_fn,
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::LocalSet,
};

use super::*;

#[derive(Debug, Default)]
struct Shared {
    bell: Bell,
}

wakes_by_bell!(Shared);

/// A connection whose turns are counted, and the server's end of its stream.
async fn connection(turns: &Rc<Cell<u32>>) -> (SendRequest<Empty<Bytes>>, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    let (sender, mut connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    let (hush, turns) = (Hush::new(Arc::<Shared>::default()), turns.clone());
    tokio::task::spawn_local(poll_fn(move |cx| {
        turns.set(turns.get() + 1);
        hush.poll(Pin::new(&mut connection), cx)
    }));
    (sender, far)
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, server: &mut DuplexStream, answer: &str) -> Incoming {
    let serve = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut head).await.unwrap();
        }
        server.write_all(answer.as_bytes()).await.unwrap();
    };
    let request = Request::get("/").body(Empty::new()).unwrap();
    tokio::join!(sender.send_request(request), serve).0.unwrap().into_body()
}

async fn read(body: &mut Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    let whole = async {
        while let Some(frame) = poll_fn(|cx| poll_body(body, cx)).await {
            bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(5), whole).await.expect("the rest never came");
    bytes
}

/// Fails when: the wake-up for room is not held back, or is let go after the last part.
#[tokio::test(start_paused = true)]
async fn the_last_part_of_a_body_of_known_length_wakes_nobody() {
    let turns = Rc::new(Cell::new(0));
    LocalSet::new()
        .run_until(async {
            let (mut sender, mut server) = connection(&turns).await;
            let mut body = ask(&mut sender, &mut server, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            let before = turns.get();
            assert_eq!(read(&mut body).await, b"hello");
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(turns.get(), before);
        })
        .await;
}

/// Fails when: room after a part that is not the last is kept from the connection, with a length or without.
#[tokio::test(start_paused = true)]
async fn every_other_part_makes_room_for_the_next() {
    for (head, parts) in [
        ("content-length: 6", ["one", "two"]),
        ("transfer-encoding: chunked", ["3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"]),
    ] {
        let turns = Rc::new(Cell::new(0));
        LocalSet::new()
            .run_until(async {
                let (mut sender, mut server) = connection(&turns).await;
                let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{}", parts[0]);
                let mut body = ask(&mut sender, &mut server, &answer).await;
                // The connection has no room for it yet, and will not be told of it by the stream again.
                server.write_all(parts[1].as_bytes()).await.unwrap();
                assert_eq!(read(&mut body).await, b"onetwo", "{head}");
            })
            .await;
    }
}

struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Fails when: wake-ups of other threads wait, too, or the second one, or a panic keeps this thread's from passing ever after.
#[test]
fn nothing_else_is_held_back() {
    let count = Arc::new(Count(AtomicU32::new(0)));
    let mut bell = None;
    let mut connection = std::pin::pin!(poll_fn(|cx| {
        bell = Some(cx.waker().clone());
        Poll::<()>::Pending
    }));
    let task = Waker::from(count.clone());
    assert!(Hush::new(Arc::<Shared>::default()).poll(connection.as_mut(), &Context::from_waker(&task)).is_pending());
    let bell = bell.unwrap();

    let taking = Taking::begin();
    let elsewhere = bell.clone();
    thread::spawn(move || elsewhere.wake()).join().unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    bell.wake_by_ref();
    assert_eq!(count.0.load(Ordering::Relaxed), 1, "the first waits");
    bell.wake_by_ref();
    assert_eq!(count.0.load(Ordering::Relaxed), 2, "the second does not");
    drop(taking);
    assert_eq!(count.0.load(Ordering::Relaxed), 3);

    let taken = std::panic::catch_unwind(|| {
        let _taking = Taking::begin();
        panic!("on purpose");
    });
    assert!(taken.is_err());
    bell.wake();
    assert_eq!(count.0.load(Ordering::Relaxed), 4);
}
