//! gRPC: every shape of call, status in the trailers, and errors of the proxy said in gRPC.

use h2::Reason;
use http::Request;

use crate::support::{
    client::get,
    config::{Config, Service},
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    origin::Origin,
    proxy::Proxy,
    wait::{until, until_true, within},
};

struct Set {
    blue: Origin,
    blue_grpc: GrpcOrigin,
    proxy: Proxy,
    _green: (Origin, GrpcOrigin),
}

async fn set() -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let proxy = Proxy::ready(&Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))).await;
    Set { blue, blue_grpc, proxy, _green: (green, green_grpc) }
}

/// Fails when: any shape of call loses a message, its status or its trailers.
#[tokio::test]
async fn calls_of_every_shape_pass() {
    // Everything is bound: what a pattern leaves out is dropped at once, servers included.
    let Set { proxy, blue: _blue, blue_grpc: _grpc, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let reply = channel.call("Unary", &["hi"]).await;
    assert_eq!((reply.http_status, reply.grpc_status().as_deref()), (200, Some("0")), "{reply:?}");
    assert!(reply.trailers.is_some(), "the status came in the trailers");
    assert_eq!(reply.header("x-verdigris-slot").as_deref(), Some("blue"));
    assert_eq!(channel.call("ClientStream", &["a", "b", "c"]).await.messages, ["blue:3"]);
    let many = channel.call("ServerStream", &["500"]).await.messages;
    assert_eq!((many.len(), many[499].as_str()), (500, "blue:499"));
    let mut call = channel.start("Bidi").await;
    for round in 0..10 {
        call.say(&round.to_string()).await;
        assert_eq!(call.next().await, Some(format!("blue:{round}")), "each echo comes before the next message goes");
    }
    call.half_close();
    assert_eq!(call.finish().await.grpc_status().as_deref(), Some("0"));
}

/// Fails when: a server's own failure is changed or hidden.
#[tokio::test]
async fn the_servers_failures_pass() {
    let Set { proxy, blue: _blue, blue_grpc: _grpc, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let reply = channel.call("Fail", &["x"]).await;
    assert_eq!((reply.grpc_status().as_deref(), reply.trailers.is_none()), (Some("5"), true), "trailers-only stays so");
    assert_eq!(
        (reply.header("grpc-message").as_deref(), reply.header("x-verdigris-error")),
        (Some("no such model"), None)
    );
    let reply = channel.call("FailLate", &["x"]).await;
    assert_eq!((reply.messages.len(), reply.grpc_status().as_deref()), (1, Some("13")));
    // A reset may overtake the head before it; then there is a status instead, which is just as clear.
    match channel.try_call("Reset", &["x"]).await {
        Err(reset) => assert!(reset.is_reset() && reset.reason() != Some(Reason::NO_ERROR), "{reset:?}"),
        Ok(reply) => assert!(reply.grpc_status().is_some_and(|status| status != "0"), "{reply:?}"),
    }
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["blue:x"], "one call's end is not the connection's");
}

/// Fails when: an error of the proxy is told to a gRPC client as a bare HTTP status.
#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let Set { proxy, blue_grpc, blue: _blue, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    assert_eq!(channel.call("Unary", &["x"]).await.grpc_status().as_deref(), Some("0"));
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert!(call.next().await.is_some());
    blue_grpc.kill().await;
    let cut = within("the running call's end", call.try_finish()).await;
    let broken = match &cut {
        Err(error) => error.reason() != Some(Reason::NO_ERROR),
        Ok(reply) => reply.grpc_status().is_some_and(|status| status != "0"),
    };
    assert!(broken, "never a clean end: {cut:?}");
    let reply = channel.call("Unary", &["x"]).await;
    assert_eq!((reply.http_status, reply.grpc_status().as_deref()), (200, Some("14")), "{reply:?}");
    assert!(
        reply.trailers.is_none() && reply.header("grpc-message").is_some(),
        "trailers-only, with a message: {reply:?}"
    );
    assert_eq!(reply.header("content-type").as_deref(), Some("application/grpc"));
    assert_eq!(reply.header("x-verdigris-error").as_deref(), Some("upstream_connect"));
}

/// Fails when: gRPC is sent to a port that speaks HTTP/1.1 only, or the answer does not say what is missing.
#[tokio::test]
async fn an_endpoint_without_grpc_says_so() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let channel = Channel::open(proxy.addr).await;
    let reply = channel.call("Unary", &["x"]).await;
    assert_eq!((reply.http_status, reply.grpc_status().as_deref()), (200, Some("12")), "{reply:?}");
    assert_eq!(reply.header("x-verdigris-error").as_deref(), Some("no_grpc_address"));
    assert_eq!(blue.hits(), 0);
}

/// Fails when: metadata is lost, or `te: trailers` and `grpc-timeout` do not reach the server.
#[tokio::test]
async fn metadata_passes() {
    let Set { proxy, blue_grpc, blue: _blue, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let request = Request::post(channel.uri("/test.Echo/Fail"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .header("x-trace-bin", "AAEC/w==")
        .body(())
        .unwrap();
    let (response, _send) = channel.request(request, true).await.unwrap();
    within("the answer", response).await.unwrap();
    for (name, value) in [
        ("te", "trailers"),
        ("grpc-timeout", "5S"),
        ("x-trace-bin", "AAEC/w=="),
        ("content-type", "application/grpc+proto"),
    ] {
        assert_eq!(blue_grpc.metadata(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(blue_grpc.metadata("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}

/// Fails when: a cancelled call goes on upstream.
#[tokio::test]
async fn a_cancelled_call_is_cancelled_upstream() {
    let Set { proxy, blue_grpc, blue: _blue, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert!(call.next().await.is_some());
    let mut waiting = channel.start("Hang").await;
    waiting.say("a").await;
    until_true("both calls", || blue_grpc.calls() == 2).await;
    drop(call);
    drop(waiting);
    until_true("both cancellations", || blue_grpc.gone() == 2).await;
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["blue:x"]);
}

/// Fails when: messages of a few MiB do not fit through, or many calls at once disturb each other.
#[tokio::test]
async fn large_messages_and_many_calls_on_one_connection() {
    let Set { proxy, blue: _blue, blue_grpc: _grpc, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let tensor = "t".repeat(8 << 20);
    let reply = channel.call("Unary", &[&tensor]).await;
    assert_eq!(reply.messages[0].len(), tensor.len() + "blue:".len());
    let calls = (0..100).map(|index| {
        let channel = channel.clone();
        tokio::spawn(async move {
            let text = index.to_string();
            assert_eq!(channel.call("Unary", &[&text]).await.messages, [format!("blue:{text}")]);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

/// Small DATA frames that nobody reads once ended the whole connection, neighbours and all. Fails when: the window of
/// the upstream connection is too small for the frames that stalled streams may leave.
#[tokio::test]
async fn a_stalled_token_stream_does_not_cost_its_neighbours() {
    let Set { proxy, blue: _blue, blue_grpc: _grpc, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let mut stalled = channel.start("ServerStream").await;
    stalled.say("30000").await;
    stalled.half_close();
    assert_eq!(stalled.next().await.as_deref(), Some("blue:0"));
    let other = Channel::open(proxy.addr).await;
    for _ in 0..50 {
        assert_eq!(other.call("Unary", &["x"]).await.grpc_status().as_deref(), Some("0"));
    }
    let rest = stalled.finish().await;
    assert_eq!((rest.messages.len(), rest.grpc_status().as_deref()), (29_999, Some("0")));
}

/// Fails when: one `h2c://` address does not take both gRPC and other requests.
#[tokio::test]
async fn one_h2c_address_takes_everything() {
    let (blue, green) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let mut service = Service::new("iris", &blue.url(), &green.url());
    service.health = "grpc = \"v2\"\ninterval = \"50ms\"".to_owned();
    let proxy = Proxy::ready(&Config::new(vec![service])).await;
    let channel = Channel::open(proxy.addr).await;
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["blue:x"]);
    assert_eq!(proxy.once(&get("/plain")).await.status, 200, "an HTTP/1.1 request is translated");
    proxy.switch("green").await;
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["green:x"]);
}

/// Fails when: an HTTP/2 client's plain requests are not translated for an HTTP/1.1 server.
#[tokio::test]
async fn http2_clients_reach_http1_servers() {
    let Set { proxy, blue, blue_grpc: _grpc, _green } = set().await;
    let channel = Channel::open(proxy.addr).await;
    let request = Request::get(channel.uri("/a?b=c"));
    let request = request.header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
    let (response, _send) = channel.request(request, true).await.unwrap();
    assert_eq!(within("the answer", response).await.unwrap().status(), 200);
    let sent = blue.only_request();
    let field = |name: &str| crate::support::wire::values(&sent.fields, name);
    assert_eq!((sent.target.as_str(), field("host")), ("/a?b=c", vec![proxy.addr.to_string()]));
    assert_eq!(field("cookie"), ["a=1; b=2"]);
}

/// Fails when: health over gRPC is not asked for, or its "not ready" is taken for ready.
#[tokio::test]
async fn readiness_is_asked_over_grpc() {
    let (blue, green) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    for kind in ["v2", "health"] {
        green.shared.ready.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut service = Service::new("iris", &blue.url(), &green.url());
        service.health = format!("grpc = \"{kind}\"\ninterval = \"50ms\"");
        let proxy = Proxy::ready(&Config::new(vec![service])).await;
        green.shared.ready.store(false, std::sync::atomic::Ordering::SeqCst);
        until("green to be unhealthy", || async {
            let status = proxy.admin.status("iris").await;
            let health = status["slots"]["green"]["endpoints"][0]["health"].clone();
            if health == "unhealthy" { Ok(()) } else { Err(status) }
        })
        .await;
    }
}
