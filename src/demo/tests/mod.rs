//! The demo's parts together, over real sockets: the servers, the load, and a whole run against a stand-in proxy.

mod fake_proxy;

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::Notify};

use self::fake_proxy::{FakeProxy, Sins};
use super::{
    Options, Server, Servers, Verdict, Version,
    check::Path,
    client::{Client, request},
    config_text,
    ledger::{Ledger, Tally},
    load::{Load, STREAMS, Target},
    run,
};

/// A request of this method and path; `None` sends no body.
async fn ask(server: &Server, method: Method, path: &str, body: Option<&str>) -> (StatusCode, String) {
    let mut request = request(server.addr(), path, body.map(str::to_owned)).unwrap();
    *request.method_mut() = method;
    let mut client = Client::new(server.addr());
    let answer = client.send(request).await.unwrap();
    let status = answer.status();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const INFER: &str = "/v2/models/iris/infer";

/// A versicolor that version 1, who sees only its sepals, takes for a virginica.
const FLOWER: &str =
    r#"{"id":"a","inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[7.0,3.2,4.7,1.4]}]}"#;

#[tokio::test]
async fn a_server_speaks_the_open_inference_protocol() {
    let server = Server::start(Version::Two).await.unwrap();
    for path in ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"] {
        assert_eq!(ask(&server, Method::GET, path, None).await.0, StatusCode::OK, "{path}");
    }
    let (_, metadata) = ask(&server, Method::GET, "/v2/models/iris", None).await;
    let metadata = json_of(&metadata);
    assert_eq!((&metadata["name"], &metadata["versions"]), (&json!("iris"), &json!(["2"])));
    assert_eq!(metadata["inputs"], json!([{ "name": "features", "datatype": "FP64", "shape": [-1, 4] }]));
}

#[tokio::test]
async fn the_versions_answer_the_same_flower_differently() {
    for (version, name, label) in [(Version::One, "1", 2), (Version::Two, "2", 1)] {
        let server = Server::start(version).await.unwrap();
        let (status, answer) = ask(&server, Method::POST, INFER, Some(FLOWER)).await;
        let answer = json_of(&answer);
        assert_eq!((status, &answer["model_version"], &answer["id"]), (StatusCode::OK, &json!(name), &json!("a")));
        let expected = json!({ "name": "label", "shape": [1], "datatype": "INT64", "data": [label] });
        assert_eq!(answer["outputs"][0], expected);
        assert_eq!(answer["outputs"][1]["data"].as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_reason() {
    let server = Server::start(Version::One).await.unwrap();
    let huge = " ".repeat(1024 * 1024 + 1);
    for (method, path, body, status) in [
        (Method::POST, INFER, Some("{"), StatusCode::BAD_REQUEST),
        (Method::POST, "/v2/models/iris/generate_stream", Some("{}"), StatusCode::BAD_REQUEST),
        (Method::POST, INFER, Some(huge.as_str()), StatusCode::PAYLOAD_TOO_LARGE),
        (Method::GET, INFER, None, StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v2/models/tulip", None, StatusCode::NOT_FOUND),
    ] {
        let (seen, answer) = ask(&server, method, path, body).await;
        assert_eq!(seen, status, "{path}: {answer}");
        assert!(json_of(&answer)["error"].is_string(), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_stream_is_server_sent_events_up_to_done() {
    let server = Server::start(Version::Two).await.unwrap();
    for (method, body) in [(Method::GET, None), (Method::POST, Some(FLOWER))] {
        let (status, text) = ask(&server, method, "/v2/models/iris/generate_stream", body).await;
        let events: Vec<&str> =
            text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        let (last, tokens) = events.split_last().unwrap();
        assert_eq!((status, *last), (StatusCode::OK, "[DONE]"));
        let sentence: String =
            tokens.iter().map(|token| json_of(token)["text_output"].as_str().unwrap().to_owned()).collect();
        assert!(sentence.contains("iris versicolor") && sentence.ends_with("version 2."), "{sentence}");
    }
}

#[tokio::test]
async fn a_stopped_server_has_closed_its_port() {
    let server = Server::start(Version::One).await.unwrap();
    let addr = server.addr();
    server.stop().await;
    assert!(Client::new(addr).send(request(addr, "/v2", None).unwrap()).await.is_err());
}

/// Loads an address until the ledger shows enough, then lets the load finish.
async fn load(addr: SocketAddr, enough: impl Fn(&Tally) -> bool) -> Tally {
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(Target { addr, path: Path::Direct }, &ledger);
    while !enough(&ledger.total()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load.finish().await;
    assert_eq!(ledger.streams_open(), 0);
    ledger.total()
}

#[tokio::test]
async fn a_good_server_loses_nothing_and_is_as_accurate_as_it_says() {
    let server = Server::start(Version::Two).await.unwrap();
    let seen = load(server.addr(), |tally| tally.requests >= 150 && tally.streams_whole[1] >= u64::from(STREAMS)).await;
    assert_eq!((seen.faults(), seen.answered[0], seen.streams_whole[0]), (0, 0, 0), "{:?}", seen.samples);
    assert_eq!(seen.answered[1], seen.requests);
    let accuracy = seen.right[1] as f64 / seen.answered[1] as f64;
    assert!((0.9..1.0).contains(&accuracy), "{accuracy}");
}

#[tokio::test]
async fn a_killed_server_costs_requests_streams_and_connections() {
    let server = Server::start(Version::One).await.unwrap();
    let (addr, ledger) = (server.addr(), Arc::new(Ledger::default()));
    let load = Load::start(Target { addr, path: Path::Direct }, &ledger);
    let until = async |done: fn(&Ledger) -> bool| {
        while !done(&ledger) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(|ledger| ledger.streams_open() > 0 && ledger.total().requests > 20).await;
    server.stop().await;
    until(|ledger| ledger.total().lost.broken > 0 && ledger.total().streams_cut > 0).await;
    load.finish().await;
    let seen = ledger.total();
    assert!(seen.connections_lost > 0 && !seen.samples.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn refusals_and_broken_bodies_are_counted_by_kind() {
    type Kind = fn(&Tally) -> u64;
    let answers: [(&str, Kind); 4] = [
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", |tally| tally.lost.refused),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", |tally| tally.lost.malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{", |tally| tally.lost.broken),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ndata: \r\n", |tally| tally.streams_cut),
    ];
    for (answer, kind) in answers {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _peer) = listener.accept().await.unwrap();
                // Reads the head of the request first: an answer before it would be no answer to it.
                stream.readable().await.unwrap();
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        let seen = load(addr, |tally| kind(tally) > 0).await;
        assert_eq!((seen.answered, seen.streams_whole), ([0, 0], [0, 0]), "{answer}");
        server.abort();
    }
}

/// Plays the whole script against the stand-in; returns the verdict and what was printed.
async fn play(sin: impl Fn(&Sins)) -> (Verdict, String) {
    let servers = Servers::start().await.unwrap();
    let proxy = FakeProxy::start(&servers).await;
    sin(&proxy.sins);
    let mut out = Vec::new();
    let options =
        Options { program: "verdigris".to_owned(), proxy: proxy.addr, admin: proxy.addr, script: true, servers };
    let verdict = run(options, &mut out, pending::<()>()).await.unwrap();
    (verdict, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn the_script_passes_where_nothing_is_lost() {
    let (verdict, text) = play(|_| {}).await;
    assert!(verdict.nothing_lost(), "{text}");
    assert!(verdict.requests() > 100, "{text}");
    let steps = ["1  blue serves", "2  switch", "3  roll back", "4  switch", "safe_to_delete: true", "5  delete blue"];
    let places: Vec<_> = steps.iter().map(|step| text.find(step)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
    for words in ["==> green (version 2) serves now, generation 2", "streams cut", "Nothing was lost."] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_script_fails_if_blue_was_not_really_drained() {
    let (verdict, text) = play(|sins| sins.lies_about_drain.store(true, Ordering::Relaxed)).await;
    assert!(!verdict.nothing_lost(), "{text}");
    assert!(verdict.total().streams_cut > 0, "{text}");
}

#[tokio::test]
async fn the_script_fails_if_the_old_version_still_answers() {
    let (verdict, text) = play(|sins| sins.strays.store(true, Ordering::Relaxed)).await;
    assert!(!verdict.nothing_lost() && verdict.total().stale > 0, "{text}");
}

#[tokio::test]
async fn the_script_fails_if_client_connections_are_closed() {
    let (verdict, text) = play(|sins| sins.closes.store(true, Ordering::Relaxed)).await;
    assert!(!verdict.nothing_lost() && verdict.total().connections_lost > 0, "{text}");
}

/// Paper that tells when a status line was printed on it, which is when the demo is interrupted.
#[derive(Debug, Default)]
struct Paper {
    text: String,
    line_printed: Arc<Notify>,
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text += str::from_utf8(bytes).unwrap();
        if self.text.contains(" s  blue ") {
            self.line_printed.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_interrupted_demo_ends_with_its_table() {
    let servers = Servers::start().await.unwrap();
    let proxy = FakeProxy::start(&servers).await;
    let mut out = Paper::default();
    let line_printed = Arc::clone(&out.line_printed);
    let options =
        Options { program: "verdigris".to_owned(), proxy: proxy.addr, admin: proxy.addr, script: false, servers };
    let verdict = run(options, &mut out, line_printed.notified()).await.unwrap();
    let (text, invited) = (out.text, format!("verdigris switch iris --to green --admin http://{}", proxy.addr));
    assert!(verdict.nothing_lost(), "{text}");
    for words in [invited.as_str(), "inferences answered", "Nothing was lost."] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
}

#[tokio::test]
async fn an_interrupted_script_is_not_a_pass() {
    let servers = Servers::start().await.unwrap();
    let proxy = FakeProxy::start(&servers).await;
    let mut out = Vec::new();
    let options =
        Options { program: "verdigris".to_owned(), proxy: proxy.addr, admin: proxy.addr, script: true, servers };
    let verdict = run(options, &mut out, tokio::time::sleep(Duration::from_millis(100))).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!verdict.nothing_lost() && text.contains("Failed: interrupted."), "{text}");
}

#[tokio::test]
async fn the_config_names_both_servers_and_is_toml() {
    let servers = Servers::start().await.unwrap();
    let config: toml::Table = config_text(&servers, "127.0.0.1:0", "127.0.0.1:9900").parse().unwrap();
    let service = &config["service"][0];
    let blue = format!("http://{}", servers.blue.addr());
    assert_eq!(service["blue"]["endpoints"][0].as_str(), Some(blue.as_str()));
    assert_eq!(
        (service["green"]["version"].as_str(), config["admin"]["listen"].as_str()),
        (Some("2"), Some("127.0.0.1:9900"))
    );
}
