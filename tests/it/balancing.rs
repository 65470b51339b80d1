//! How the requests of a slot are spread over its endpoints.

use crate::support::{
    client::{Conn, get},
    config::Config,
    grpc::Channel,
    origin::{Origin, Trouble},
    proxy::Proxy,
};

/// Three endpoints in blue, with these tables.
async fn three(tables: &str) -> ([Origin; 3], Proxy) {
    let origins = [Origin::start("one").await, Origin::start("two").await, Origin::start("three").await];
    let config = Config::pair(&origins[0], &origins[0]).service(|service| {
        service.blue = origins.iter().map(|origin| format!("\"{}\"", origin.url())).collect::<Vec<_>>().join(", ");
        service.green = String::new();
        service.tables = tables.to_owned();
    });
    let proxy = Proxy::ready(&config).await;
    (origins, proxy)
}

/// So many GETs, over so many client connections at once.
async fn load(proxy: &Proxy, clients: usize, each: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let addr = proxy.addr;
        tasks.spawn(async move {
            let mut conn = Conn::open(addr).await;
            for _ in 0..each {
                assert_eq!(conn.call(&get("/")).await.status, 200);
            }
        });
    }
    tasks.join_all().await;
}

/// By one client, so that nothing but latency tells the endpoints apart, however busy the machine is. Fails when: latency is
/// not observed, or not looked at; then it gets a third.
#[tokio::test]
async fn a_slow_endpoint_gets_little() {
    let (origins, proxy) = three("[service.balance]\nslow_start = \"0s\"").await;
    origins[2].trouble(Some(Trouble::Slow(200)));
    load(&proxy, 1, 120).await;
    let hits = [0, 1, 2].map(|index| origins[index].hits());
    assert_eq!(hits.iter().sum::<u64>(), 120);
    assert!(hits[2] < 24, "a fifth is more than a slow one should get: {hits:?}");
    assert!(hits[0] > 20 && hits[1] > 20, "{hits:?}");
}

/// Fails when: round robin skips or repeats an endpoint.
#[tokio::test]
async fn round_robin_takes_turns() {
    let (origins, proxy) = three("[service.balance]\npolicy = \"round_robin\"\nslow_start = \"0s\"").await;
    load(&proxy, 1, 30).await;
    assert_eq!([0, 1, 2].map(|index| origins[index].hits()), [10, 10, 10]);
}

/// Fails when: a stream is no longer counted once its answer has begun.
#[tokio::test]
async fn a_stream_counts_until_it_ends() {
    let (origins, proxy) = three("[service.balance]\npolicy = \"least_in_flight\"\nslow_start = \"0s\"").await;
    // On one client connection over HTTP/1.1 there is one request at a time, and one worker has them all.
    let mut streams = Vec::new();
    let channel = Channel::open(proxy.addr).await;
    for _ in 0..30 {
        let request = http::Request::get(channel.uri("/?do=steps&n=1")).body(()).unwrap();
        let (response, _) = channel.request(request, true).await.unwrap();
        streams.push(response.await.unwrap());
    }
    let hits = [0, 1, 2].map(|index| origins[index].hits());
    assert!(hits.iter().all(|count| count.abs_diff(10) <= 2), "{hits:?}");
}
