//! How many allocations a request costs the proxy, from the client's head to the last byte of its answer, and how much
//! memory an idle client connection holds.
//!
//! A binary of its own, beside the integration tests' one, because it counts with an allocator of its own and everything
//! in its process: so the server and the client here allocate nothing once they run. Background work (a tick ten times a
//! second, no probes after the first) is shared by so many requests that it does not show.
//!
//! The bounds are what is needed today. Who goes below them lowers them; who raises one says in the change what for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    alloc::System,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use verdigris::app::{Options, start};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// GET and POST need 21 and 24; the ticks of the background come on top.
const GET_MAX: f64 = 21.5;
const POST_MAX: f64 = 24.5;
const CONNECTIONS: usize = 400;
const IDLE_BYTES_MAX: usize = 4096;
const WARM_UP: usize = 200;
const REQUESTS: usize = 2000;

const GET: &[u8] = b"GET /v2/models/iris/ready HTTP/1.1\r\nHost: models.test\r\nAccept: */*\r\n\r\n";
const POST: &[u8] = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: models.test\r\nContent-Type: application/json\r\n\
    Content-Length: 20\r\n\r\n{\"inputs\":[5.1,3.5]}";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 15\r\nConnection: keep-alive\r\n\r\n{\"outputs\":[2]}";

/// Answers everything on every connection, whatever it is asked. It reads a request in one piece, as it is written.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for conn in listener.incoming() {
            let mut conn = conn.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = conn.read(&mut buffer) {
                    if conn.write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Sends a request so many times on one connection, each after the answer to the one before.
fn ask(conn: &mut TcpStream, request: &[u8], times: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..times {
        conn.write_all(request).unwrap();
        let mut bytes = 0;
        while !buffer[..bytes].ends_with(b"{\"outputs\":[2]}") {
            let more = conn.read(&mut buffer[bytes..]).unwrap();
            assert_ne!(more, 0, "the proxy closed the connection");
            bytes += more;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

/// Allocations, new and grown ones, per request.
fn allocations(proxy: SocketAddr, request: &[u8]) -> f64 {
    let mut conn = TcpStream::connect(proxy).unwrap();
    conn.set_nodelay(true).unwrap();
    conn.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    ask(&mut conn, request, WARM_UP);
    let count = || {
        let stats = ALLOCATOR.stats();
        stats.allocations + stats.reallocations
    };
    let before = count();
    ask(&mut conn, request, REQUESTS);
    (count() - before) as f64 / REQUESTS as f64
}

/// Bytes on the heap.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Bytes that an idle connection holds once it has given its buffers back.
fn idle_bytes(proxy: SocketAddr) -> usize {
    let before = held();
    let mut conns = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut conn = TcpStream::connect(proxy).unwrap();
        ask(&mut conn, GET, 1);
        conns.push(conn);
    }
    let each = || held().saturating_sub(before) / CONNECTIONS;
    let until = Instant::now() + Duration::from_secs(20);
    while each() > IDLE_BYTES_MAX && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    each()
}

/// Fails when: a request allocates once more than it did, as by a `Box` round the handler's future; or an idle connection
/// keeps its buffers, or has a larger task.
#[test]
fn neither_requests_nor_idle_connections_cost_more_than_they_did() {
    let origin = origin();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("verdigris.toml");
    let text = format!(
        "version = 1\n[proxy]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [state]\ndir = \"state\"\n[[service]]\nname = \"iris\"\n[service.blue]\nendpoints = [\"http://{origin}\"]\n\
         [service.green]\nendpoints = [\"http://{origin}\"]\n[service.health]\npath = \"/ready\"\ninterval = \"1h\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let running = start(Options::new(file)).unwrap();
    let (get, post) = (allocations(running.proxy_addr(), GET), allocations(running.proxy_addr(), POST));
    println!("allocations per request: GET {get:.2}, POST {post:.2}");
    assert!(get < GET_MAX && post < POST_MAX, "GET {get:.2} of {GET_MAX}, POST {post:.2} of {POST_MAX}");
    let idle = idle_bytes(running.proxy_addr());
    println!("bytes per idle connection: {idle}");
    assert!(idle <= IDLE_BYTES_MAX, "{idle} of {IDLE_BYTES_MAX}");
}
