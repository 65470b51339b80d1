use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::{
    config,
    proxy::{Command, WorkerOptions, spawn_worker},
    shadow::Taps,
    table,
    telemetry::Registry,
};

fn options(index: usize) -> WorkerOptions {
    let text = "version = 1\n[[service]]\nname = \"iris\"\n[service.blue]\nendpoints = [\"http://127.0.0.1:1\"]\n";
    let clients = config::parse(text, "test.toml").unwrap().settings.proxy.client_rules();
    let (clients, registry) = (Arc::new(clients), Registry::new(2).unwrap());
    WorkerOptions { index, workers: 2, clients, tls: None, registry, access: None, taps: Taps::default().reader() }
}

/// What the proxy makes of a request: its status line, or nothing if the connection was closed.
async fn status_line(addr: std::net::SocketAddr) -> String {
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: iris.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // A reset is a client lost, too.
    let _ = client.read_to_string(&mut answer).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A worker's loop that panics. Fails when: `place` gives clients to a worker that has ended, or drops the one it could
/// not give away.
#[tokio::test]
async fn a_worker_that_has_ended_costs_no_client() {
    let (_publisher, reader) = table::pointer();
    let (lost, thread) = spawn_worker(options(0), || panic!("injected")).unwrap();
    assert!(tokio::task::spawn_blocking(move || thread.join()).await.unwrap().is_err(), "its thread has panicked");
    let (alive, _thread) = spawn_worker(options(1), reader).unwrap();
    let listener = crate::net::bind("127.0.0.1:0".parse().unwrap(), "proxy.listen").unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(listener, vec![lost.clone(), alive.clone()], 100).unwrap();
    let clients = async {
        for round in 0..6 {
            assert_eq!(status_line(addr).await, "HTTP/1.1 404 Not Found", "client {round}");
        }
    };
    tokio::select! {
        () = acceptor.run() => {}
        () = clients => {}
    }
    assert_eq!(lost.connections(), 0, "what was not given is not counted");
    alive.tell(Command::Finish).await;
}

/// Fails when: `run` goes on accepting clients whom nobody will serve.
#[tokio::test]
async fn without_workers_nobody_is_accepted() {
    let mut lost = Vec::new();
    for index in 0..2 {
        let (worker, thread) = spawn_worker(options(index), || panic!("injected")).unwrap();
        assert!(tokio::task::spawn_blocking(move || thread.join()).await.unwrap().is_err(), "its thread has panicked");
        lost.push(worker);
    }
    let listener = crate::net::bind("127.0.0.1:0".parse().unwrap(), "proxy.listen").unwrap();
    let acceptor = Acceptor::new(listener, lost, 100).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.run()).await;
    assert!(ended.is_ok(), "it waits for clients");
}
