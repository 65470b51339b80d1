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
    // A reset is a client lost, too, and so is one that waits for ever.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), client.read_to_string(&mut answer)).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

fn listening() -> (std::net::TcpListener, std::net::SocketAddr) {
    let listener = crate::net::bind("127.0.0.1:0".parse().unwrap(), "proxy.listen").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn six_are_answered(addr: std::net::SocketAddr) {
    for round in 0..6 {
        assert_eq!(status_line(addr).await, "HTTP/1.1 404 Not Found", "client {round}");
    }
}

/// A worker's loop that panics. Fails when: `place` gives clients to a worker that has ended, or drops the one it could
/// not give away.
#[tokio::test]
async fn a_worker_that_has_ended_costs_no_client() {
    let (_publisher, reader) = table::pointer();
    let (lost, thread) = spawn_worker(options(0), || panic!("injected")).unwrap();
    assert!(tokio::task::spawn_blocking(move || thread.join()).await.unwrap().is_err(), "its thread has panicked");
    let (alive, _thread) = spawn_worker(options(1), reader).unwrap();
    let (listener, addr) = listening();
    let mut acceptor = Acceptor::new(listener, vec![lost.clone(), alive.clone()], 100);
    let clients = async {
        six_are_answered(addr).await;
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
    let (listener, _addr) = listening();
    let mut acceptor = Acceptor::new(listener, lost, 100);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.run()).await;
    assert!(ended.is_ok(), "it waits for clients");
}

/// Clients that say nothing, and stay.
async fn connect(addr: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(TcpStream::connect(addr).await.unwrap());
    }
    clients
}

/// Fails when: the worker that accepts keeps more than its share, or `survey` overlooks who has the fewest.
#[tokio::test]
async fn clients_are_spread_evenly() {
    let (_publisher, reader) = table::pointer();
    let workers: Vec<_> = (0..3).map(|index| spawn_worker(options(index), reader.clone()).unwrap().0).collect();
    let (listener, addr) = listening();
    let mut acceptor = Acceptor::new(listener, workers.clone(), 100);
    let connections = || workers.iter().map(WorkerHandle::connections).collect::<Vec<_>>();
    let clients = async {
        let first = connect(addr, 7).await;
        wait_until(|| connections() == [3, 2, 2]).await;
        drop(first);
        wait_until(|| connections() == [0, 0, 0]).await;
        let _second = connect(addr, 12).await;
        wait_until(|| connections() == [4, 4, 4]).await;
    };
    tokio::select! {
        () = acceptor.run() => panic!("the workers have ended"),
        () = clients => {}
    }
    for worker in workers {
        worker.tell(Command::Finish).await;
    }
}

/// Fails when: nobody stands in for the worker that accepts while it hangs, or it is given clients meanwhile.
#[tokio::test]
async fn a_worker_that_hangs_holds_up_nobody_elses_clients() {
    let (_publisher, reader) = table::pointer();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let late = reader.clone();
    let hanging = move || {
        let _ = held.recv();
        late()
    };
    let (hangs, _thread) = spawn_worker(options(0), hanging).unwrap();
    let (runs, _thread) = spawn_worker(options(1), reader).unwrap();
    let (listener, addr) = listening();
    let mut acceptor = Acceptor::new(listener, vec![hangs.clone(), runs.clone()], 100);
    let clients = async {
        six_are_answered(addr).await;
        drop(release);
        // It takes its shift up, and its share.
        wait_until(|| !hangs.standing().hangs()).await;
        let _clients = connect(addr, 4).await;
        wait_until(|| hangs.connections() == 2 && runs.connections() == 2).await;
    };
    tokio::select! {
        () = acceptor.run() => panic!("the workers have ended"),
        () = clients => {}
    }
    hangs.tell(Command::Finish).await;
    runs.tell(Command::Finish).await;
}

/// Fails when: `close` leaves clients in the kernel's queue to be reset, or the worker that accepted keeps the socket.
#[tokio::test]
async fn the_socket_is_closed_when_nobody_waits_any_more() {
    let (_publisher, reader) = table::pointer();
    let (worker, _thread) = spawn_worker(options(0), reader).unwrap();
    let (listener, addr) = listening();
    let mut acceptor = Acceptor::new(listener, vec![worker.clone()], 100);
    let waiting = connect(addr, 3).await;
    acceptor.close().await;
    assert_eq!(worker.connections(), 3, "who waited was placed");
    drop(waiting);

    let (listener, addr) = listening();
    acceptor = Acceptor::new(listener, vec![worker.clone()], 100);
    tokio::select! {
        () = acceptor.run() => panic!("the worker has ended"),
        answer = status_line(addr) => assert_eq!(answer, "HTTP/1.1 404 Not Found"),
    }
    acceptor.close().await;
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    worker.tell(Command::Finish).await;
}

async fn wait_until(holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "it took too long");
}
