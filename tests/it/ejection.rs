//! An endpoint that fails requests in a row is left out for a while, and comes back.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::support::{
    client::{get, infer},
    config::Config,
    origin::{Origin, Trouble},
    proxy::Proxy,
    wait::{until, until_true},
};

const EJECTION: &str = "[service.balance]\npolicy = \"round_robin\"\nslow_start = \"0s\"\n[service.ejection]\nfailures = 3\n\
                        time = \"400ms\"\ntime_max = \"500ms\"";

async fn several(count: usize) -> (Vec<Origin>, Proxy) {
    let mut origins = Vec::new();
    for index in 0..count {
        origins.push(Origin::start(&format!("o{index}")).await);
    }
    let config = Config::pair(&origins[0], &origins[0]).service(|service| {
        service.blue = origins.iter().map(|origin| format!("\"{}\"", origin.url())).collect::<Vec<_>>().join(", ");
        service.green = String::new();
        service.tables = EJECTION.to_owned();
    });
    let proxy = Proxy::ready(&config).await;
    (origins, proxy)
}

/// What the status says of the endpoint at this index: how long it is still left out.
async fn ejected_for(proxy: &Proxy, index: usize) -> Option<Duration> {
    let status = proxy.admin.status("iris").await;
    status["slots"]["blue"]["endpoints"][index]["ejected_for_ms"].as_u64().map(Duration::from_millis)
}

async fn ejected(proxy: &Proxy, index: usize) -> bool {
    ejected_for(proxy, index).await.is_some()
}

/// Fails when: failures are not counted, an ejected endpoint still gets requests, it never comes back, a probe brings it
/// back, or status, gauge, counter and event do not tell.
#[tokio::test]
async fn a_failing_endpoint_goes_and_returns() {
    let (origins, proxy) = several(3).await;
    for trouble in [Trouble::Status(503), Trouble::Close] {
        let ejections = proxy.metric("verdigris_endpoint_ejections_total", &["iris"]).await;
        origins[1].trouble(Some(trouble));
        let left_out = Cell::new(0);
        until("requests during ejections", || async {
            let asked = Instant::now();
            let left = ejected_for(&proxy, 1).await;
            let hits = origins[1].hits();
            let gauge = proxy.metric("verdigris_endpoint_ejected", &[&origins[1].url()]).await;
            let answer = proxy.once(&infer("", b"{}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_ne!(answer.colour(), "o1");
            // However slow the machine is, the ejection that the status told of stood until now.
            if left.is_some_and(|left| asked.elapsed() < left) {
                assert!(gauge > 0.0, "the gauge does not tell");
                assert_eq!(origins[1].hits(), hits, "an ejected endpoint got a request");
                left_out.set(left_out.get() + 1);
            }
            if left_out.get() >= 6 { Ok(()) } else { Err(format!("{left:?}, {}", left_out.get())) }
        })
        .await;
        origins[1].trouble(None);
        until("its return", || async {
            let colour = proxy.once(&get("/")).await.colour();
            (colour == "o1").then_some(()).ok_or(colour)
        })
        .await;
        until("the count", || async {
            let now = proxy.metric("verdigris_endpoint_ejections_total", &["iris"]).await;
            (now > ejections).then_some(()).ok_or(now)
        })
        .await;
        until("the gauge", || async {
            let now = proxy.metric("verdigris_endpoint_ejected", &[]).await;
            (now == 0.0).then_some(()).ok_or(now)
        })
        .await;
    }
}

/// Fails when: what half a slot cannot do is not done by the other half.
#[tokio::test]
async fn half_of_a_slot_may_die_and_nothing_is_lost() {
    let (origins, proxy) = several(4).await;
    let mut conn = proxy.conn().await;
    for _ in 0..20 {
        assert_eq!(conn.call(&infer("", b"{}")).await.status, 200);
    }
    for dead in &origins[..2] {
        dead.kill().await;
    }
    for _ in 0..100 {
        let answer = conn.call(&infer("", b"{}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(["o2", "o3"].contains(&answer.colour().as_str()));
    }
}

/// Fails when: a client's mistake or the model's own errors count against an endpoint.
#[tokio::test]
async fn what_the_endpoint_is_not_to_blame_for_is_not_counted() {
    let (_origins, proxy) = several(2).await;
    for code in [400, 404, 429, 500] {
        for _ in 0..20 {
            assert_eq!(proxy.once(&get(&format!("/?code={code}"))).await.status, code);
        }
    }
    for index in 0..2 {
        assert!(!ejected(&proxy, index).await);
    }
}

/// Fails when: a passed gate does not end an ejection.
#[tokio::test]
async fn a_passed_gate_ends_it() {
    let (origins, proxy) = several(2).await;
    let config =
        std::fs::read_to_string(proxy.config_path()).unwrap().replace("400ms", "100s").replace("500ms", "100s");
    std::fs::write(proxy.config_path(), config).unwrap();
    assert_eq!(proxy.admin.call("POST", "/v1/config/reload", None).await.status, 200);
    origins[0].trouble(Some(Trouble::Status(503)));
    until("an ejection", || async {
        proxy.once(&infer("", b"{}")).await;
        ejected(&proxy, 0).await.then_some(()).ok_or("not ejected")
    })
    .await;
    origins[0].trouble(None);
    let probes = origins[0].shared.probes.load(std::sync::atomic::Ordering::SeqCst);
    until_true("more probes", || origins[0].shared.probes.load(std::sync::atomic::Ordering::SeqCst) > probes + 2).await;
    assert!(ejected(&proxy, 0).await, "probes do not end it");
    assert_eq!(proxy.admin.call("POST", "/v1/services/iris/slots/blue/test", None).await.status, 200);
    assert!(!ejected(&proxy, 0).await);
}
