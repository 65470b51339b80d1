//! SIGTERM: first not ready, then no new work, then the end of what runs, and only then the exit.

use crate::support::{
    binary::{Binary, with_own_addresses},
    client::get,
    config::Config,
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    origin::Origin,
    wait::{until, until_true, within},
};

struct Set {
    blue: Origin,
    proxy: Binary,
    _others: (Origin, GrpcOrigin, GrpcOrigin),
    _dir: tempfile::TempDir,
}

async fn set(tables: &str) -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc)).tables(tables);
    let config = with_own_addresses(config);
    let dir = tempfile::tempdir().unwrap();
    let proxy = Binary::start(dir.path(), &config).await;
    proxy.admin.until_healthy("iris").await;
    Set { blue, proxy, _others: (green, blue_grpc, green_grpc), _dir: dir }
}

/// Fails when: a stream is cut by the shutdown, the process leaves before it is empty, or stays after.
#[tokio::test]
async fn what_runs_is_finished_first() {
    let Set { blue, mut proxy, _others, _dir } = set("[proxy.shutdown]\ndelay = \"300ms\"\nlinger = \"200ms\"").await;
    let mut sse = proxy.conn().await;
    sse.send(&get("/?do=steps&n=3")).await;
    sse.head().await;
    let channel = Channel::open(proxy.addr).await;
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert!(call.next().await.is_some());
    let mut early = proxy.conn().await;

    proxy.signal("TERM");
    until("/ready to say 503", || async {
        let reply = proxy.admin.call("GET", "/ready", None).await;
        if reply.status == 503 { Ok(()) } else { Err(reply.status) }
    })
    .await;
    assert_eq!(early.call(&get("/")).await.status, 200, "a connection from before is still served");
    let addr = proxy.addr;
    until("new connections to be refused", || async {
        match tokio::net::TcpStream::connect(addr).await {
            Ok(_) => Err("still accepts"),
            Err(_) => Ok(()),
        }
    })
    .await;

    for _ in 0..3 {
        assert!(proxy.is_running());
        blue.step();
        assert!(sse.event().await.is_some());
    }
    assert_eq!(sse.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(sse.event().await, None);
    call.say("b").await;
    assert_eq!(call.next().await.as_deref(), Some("blue:b"));
    assert!(proxy.is_running());
    call.half_close();
    assert_eq!(call.finish().await.grpc_status().as_deref(), Some("0"));
    drop((sse, call, channel, early));
    let status = proxy.exit().await;
    assert!(status.success(), "{status}");
}

/// Fails when: an idle client holds the process, or a request that crosses the shutdown is lost without a word.
#[tokio::test]
async fn idle_connections_do_not_hold_the_process() {
    let Set { blue: _blue, mut proxy, _others, _dir } =
        set("[proxy.shutdown]\ndelay = \"0s\"\nlinger = \"500ms\"").await;
    let mut used = proxy.conn().await;
    assert_eq!(used.call(&get("/")).await.status, 200);
    let _silent = proxy.conn().await;
    let channel = Channel::open(proxy.addr).await;
    channel.call("Unary", &["x"]).await;
    proxy.signal("TERM");
    until("/ready to say 503", || async {
        let reply = proxy.admin.call("GET", "/ready", None).await;
        if reply.status == 503 { Ok(()) } else { Err(reply.status) }
    })
    .await;
    // Within the linger it is answered, and from the announcement on it is told.
    loop {
        used.send(&get("/")).await;
        let head = used.head().await;
        assert_eq!(head.status, 200);
        let told = head.says_close();
        used.rest(head).await;
        if told {
            break;
        }
    }
    let status = proxy.exit().await;
    assert!(status.success(), "{status}");
    until_true("the HTTP/2 client to be told", || channel.ended().is_some()).await;
}

/// Fails when: a client that has connected and not asked is reset, because the kernel still keeps it when the socket is
/// closed (E26).
#[tokio::test]
async fn who_connects_and_asks_late_is_answered() {
    // Far longer than the next request takes; it ends with the last connection.
    let Set { blue: _blue, mut proxy, _others, _dir } = set("[proxy.shutdown]\nlinger = \"10s\"").await;
    let mut late = proxy.conn().await;
    proxy.signal("TERM");
    until("connections to be refused", || async {
        match tokio::net::TcpStream::connect(proxy.addr).await {
            Ok(_) => Err("still accepted"),
            Err(_) => Ok(()),
        }
    })
    .await;
    late.send(&get("/")).await;
    let head = late.head().await;
    assert_eq!(head.status, 200);
    assert!(head.says_close());
    late.rest(head).await;
    assert!(proxy.exit().await.success());
}

/// Fails when: the deadline does not cut, or what it cuts looks complete.
#[tokio::test]
async fn the_deadline_cuts_visibly() {
    let Set { blue, mut proxy, _others, _dir } =
        set("[proxy.shutdown]\ndelay = \"0s\"\nlinger = \"100ms\"\ndeadline = \"400ms\"").await;
    let mut sse = proxy.conn().await;
    sse.send(&get("/?do=steps&n=3")).await;
    sse.head().await;
    blue.step();
    assert!(sse.event().await.is_some());
    proxy.signal("TERM");
    assert!(within("the cut", sse.try_event()).await.is_err(), "never a clean end");
    proxy.exit().await;
}

/// Fails when: SIGINT in a terminal does not end the process.
#[tokio::test]
async fn an_interrupt_ends_an_idle_process() {
    let Set { blue: _blue, mut proxy, _others, _dir } =
        set("[proxy.shutdown]\ndelay = \"0s\"\nlinger = \"100ms\"").await;
    proxy.signal("INT");
    let status = proxy.exit().await;
    assert!(status.success(), "{status}");
}

/// Fails when: a client that does not read holds the process beyond its deadline.
#[tokio::test]
async fn the_deadline_holds_for_stalled_clients_too() {
    let Set { blue, mut proxy, _others, _dir } =
        set("[proxy.shutdown]\ndelay = \"0s\"\nlinger = \"100ms\"\ndeadline = \"400ms\"").await;
    let mut stalled = proxy.conn().await;
    stalled.send(&get("/?do=big&bytes=200000000")).await;
    until_true("the answer to be on its way", || blue.hits() == 1).await;
    proxy.signal("TERM");
    proxy.exit().await;
}

/// Fails when: in `app::shutdown`, `listen` waits for what a SIGHUP has asked for.
#[tokio::test]
async fn a_reload_whose_gates_run_does_not_hold_the_process() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config =
        Config::pair(&blue, &green).tables("[proxy.shutdown]\ndelay = \"0s\"\nlinger = \"0s\"").service(|service| {
            service.tables = "[service.gate]\ngolden = \"golden.jsonl\"\ntimeout = \"10m\"\n".to_owned();
        });
    let config = with_own_addresses(config);
    let dir = tempfile::tempdir().unwrap();
    let golden = r#"{"name": "held", "request": {"path": "/predict?do=held"}, "expect": {}, "timeout": "9m"}"#;
    std::fs::write(dir.path().join("golden.jsonl"), golden).unwrap();
    let mut proxy = Binary::start(dir.path(), &config).await;
    proxy.admin.until_healthy("iris").await;
    let moved = config.service(|service| service.active = "green".to_owned());
    std::fs::write(dir.path().join("verdigris.toml"), moved.text()).unwrap();
    proxy.signal("HUP");
    until_true("the gate to wait for its golden request", || green.hits() == 1).await;
    proxy.signal("HUP");
    proxy.signal("TERM");
    assert!(proxy.exit().await.success());
    until_true("the gate's connection to be closed", || green.gone() == 1).await;
}

/// An operator's call that is still being sent gets its answer, not a cut connection. Fails when: in `app::shutdown`,
/// `shut_down` does not wait for the admin server as long as that waits for its callers.
#[tokio::test]
async fn an_admin_call_under_way_is_answered() {
    let Set { blue: _blue, mut proxy, _others, _dir } = set("[proxy.shutdown]\ndelay = \"0s\"\nlinger = \"0s\"").await;
    let mut caller = crate::support::client::Conn::open(proxy.admin.addr).await;
    let host = proxy.admin.addr;
    let head = format!("POST /v1/services/iris/switch HTTP/1.1\r\nhost: {host}\r\ncontent-length: 13\r\n\r\n{{\"to\":");
    caller.send(head.as_bytes()).await;
    // Its head is read when a later call on another connection is answered.
    proxy.admin.status("iris").await;
    proxy.signal("TERM");
    until("the admin address to be closed", || async {
        match tokio::net::TcpStream::connect(host).await {
            Ok(_) => Err("still accepts"),
            Err(_) => Ok(()),
        }
    })
    .await;
    // Longer than the process may think it waits, shorter than the admin server does.
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    caller.send(b"\"blue\"}").await;
    let answer = caller.answer().await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("shutting_down")), "{}", answer.text());
    drop(caller);
    assert!(proxy.exit().await.success());
}
