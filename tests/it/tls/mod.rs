//! TLS towards clients: handshakes, names, renewals, client certificates, and the proxy's promises on top of it.

mod admin;
mod clients;
mod handshake;
mod renewal;

use crate::support::{
    config::Config,
    grpc_origin::GrpcOrigin,
    origin::Origin,
    proxy::Proxy,
    tls::{Authority, Client, Relay},
    wait::until,
};

/// A proxy that speaks TLS, before two slots with HTTP and gRPC each.
struct Set {
    ca: Authority,
    blue: Origin,
    proxy: Proxy,
    config: Config,
    _others: (Origin, GrpcOrigin, GrpcOrigin),
}

async fn set(change: impl FnOnce(&Authority, Config) -> Config) -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let ca = Authority::new("a CA");
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc)).tables(&ca.table());
    let config = change(&ca, config);
    let proxy = Proxy::ready(&config).await;
    Set { ca, blue, proxy, config, _others: (green, blue_grpc, green_grpc) }
}

impl Set {
    /// The relay that speaks this protocol by ALPN.
    async fn relay(&self, alpn: &str) -> Relay {
        Relay::start(self.proxy.addr, self.ca.client().alpn(&[alpn])).await
    }

    fn client(&self) -> Client {
        self.ca.client().alpn(&["http/1.1"])
    }

    async fn until_failures(&self, kind: &str, count: f64) {
        until(&format!("{kind} to be counted"), || async {
            let counted = self.failures(kind).await;
            if counted == count { Ok(()) } else { Err(counted) }
        })
        .await;
    }

    async fn failures(&self, kind: &str) -> f64 {
        self.proxy.metric("verdigris_connection_failures_total", &[&format!("kind=\"{kind}\"")]).await
    }
}
