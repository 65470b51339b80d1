//! HTTP/2 and gRPC, frame by frame: a client and an origin that send whatever bytes a test likes, and tables of cases
//! (RFC 9113; RFC 7541; gRPC over HTTP/2).
//!
//! Never: an HTTP/2 library between the test and the wire, except to read compressed header blocks.

mod abuse;
mod client;
mod frame;
mod frames;
mod grpc;
mod messages;
mod origin;
mod small_frames;
mod upstream;

use client::{Client, End};

use crate::support::{config::Config, origin::Origin, proxy::Proxy};

/// What a table's case expects of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Answered with 200, and the connection goes on.
    Served,
    /// A 4xx or 501, a reset with an error, or an end of the connection with an error.
    Refused,
    /// The same, but other streams go on.
    StreamRefused,
    /// The connection ends, with a GOAWAY that names an error or without a word.
    Ended,
    /// Nothing comes of it: the next request is answered.
    Ignored,
}

/// A proxy in front of two model servers that speak HTTP/1.1.
struct Set {
    blue: Origin,
    proxy: Proxy,
    _green: Origin,
}

impl Set {
    async fn new(tables: &str) -> Self {
        let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
        let proxy = Proxy::ready(&Config::pair(&blue, &green).tables(tables)).await;
        Self { blue, proxy, _green: green }
    }

    /// Runs the cases, each on a connection of its own; stream 1 is judged. Says which went wrong.
    async fn run(&self, cases: Vec<(&str, Want, Vec<u8>)>) {
        let mut wrong = Vec::new();
        let count = cases.len();
        for (name, want, bytes) in cases {
            let from = self.blue.requests().len();
            let mut client = Client::open(self.proxy.addr).await;
            client.send(&bytes).await;
            if let Some(fault) = judge(&mut client, want).await {
                wrong.push(format!("{name}: {fault}"));
            }
            let reached = self.blue.requests().split_off(from);
            let complete = reached.iter().filter(|one| one.complete && one.target != "/still-there").count();
            let allowed = usize::from(want == Want::Served);
            if complete > allowed {
                wrong.push(format!("{name}: a complete request reached the server: {reached:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
        assert_eq!(self.upstream_failures().await, 0.0, "a client's mistake is not the server's");
    }

    async fn upstream_failures(&self) -> f64 {
        self.proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await
    }
}

/// What is wrong with how a case went.
async fn judge(client: &mut Client, want: Want) -> Option<String> {
    let right = match want {
        Want::Ignored => {
            return (!client.still_serves(101).await).then(|| format!("no longer served: {:?}", client.goaway));
        }
        Want::Ended => {
            client.end(1).await;
            client.until_closed().await;
            return (client.goaway == Some(0)).then(|| "GOAWAY without an error".to_owned());
        }
        Want::Served | Want::Refused | Want::StreamRefused => client.end(1).await,
    };
    let as_wanted = match (&right, want) {
        (End::Answer(200), Want::Served) => client.still_serves(101).await,
        (End::Answer(400..=499 | 501) | End::Reset(1..), Want::StreamRefused) => client.still_serves(101).await,
        (End::Answer(400..=499 | 501) | End::Reset(1..) | End::GoAway(1..) | End::Closed, Want::Refused) => true,
        _ => false,
    };
    (!as_wanted).then(|| format!("{want:?} was wanted, {right:?} came; GOAWAY {:?}", client.goaway))
}
