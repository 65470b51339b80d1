//! Calls to the admin API, as JSON.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{
    client::{Answer, Conn, request},
    wait::until,
};

/// The admin API of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    pub(crate) addr: SocketAddr,
}

/// An answer of the admin API.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) answer: Answer,
    pub(crate) text: String,
    /// `null` if the body is not JSON.
    pub(crate) json: Value,
}

impl Admin {
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.call_with(method, path, body, "").await
    }

    /// With more header fields, each ending in CRLF.
    pub(crate) async fn call_with(&self, method: &str, path: &str, body: Option<Value>, fields: &str) -> Reply {
        let body = body.map(|value| value.to_string()).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        self.raw(&request(method, path, &format!("{fields}{kind}"), body.as_bytes())).await
    }

    async fn raw(&self, bytes: &[u8]) -> Reply {
        // The API refuses foreign host names, so the name in the raw request is replaced by its own address.
        let text = String::from_utf8_lossy(bytes).replacen("iris.test", &self.addr.to_string(), 1);
        let answer = Conn::open(self.addr).await.call(text.as_bytes()).await;
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Reply { status: answer.status, text: answer.text(), json, answer }
    }

    pub(crate) async fn try_switch(&self, service: &str, body: Value) -> Reply {
        self.call("POST", &format!("/v1/services/{service}/switch"), Some(body)).await
    }

    /// A switch that must succeed.
    pub(crate) async fn switch(&self, service: &str, body: Value) -> Value {
        let reply = self.try_switch(service, body).await;
        assert_eq!(reply.status, 200, "switch: {}", reply.text);
        reply.json
    }

    pub(crate) async fn try_rollback(&self, service: &str, body: Value) -> Reply {
        self.call("POST", &format!("/v1/services/{service}/rollback"), Some(body)).await
    }

    /// A rollback that must succeed.
    pub(crate) async fn rollback(&self, service: &str) -> Value {
        let reply = self.try_rollback(service, json!({})).await;
        assert_eq!(reply.status, 200, "rollback: {}", reply.text);
        reply.json
    }

    pub(crate) async fn put_slot(&self, service: &str, slot: &str, body: Value) -> Reply {
        self.call("PUT", &format!("/v1/services/{service}/slots/{slot}"), Some(body)).await
    }

    pub(crate) async fn status(&self, service: &str) -> Value {
        let reply = self.call("GET", &format!("/v1/services/{service}"), None).await;
        assert_eq!(reply.status, 200, "status: {}", reply.text);
        reply.json
    }

    pub(crate) async fn active(&self, service: &str) -> String {
        self.status(service).await["active"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn list(&self) -> Value {
        let reply = self.call("GET", "/v1/services", None).await;
        assert_eq!(reply.status, 200, "services: {}", reply.text);
        reply.json
    }

    pub(crate) async fn drain(&self, service: &str, slot: &str) -> Value {
        let reply = self.call("GET", &format!("/v1/services/{service}/slots/{slot}/drain"), None).await;
        assert_eq!(reply.status, 200, "drain: {}", reply.text);
        reply.json
    }

    /// The journal's entries, newest first.
    pub(crate) async fn history(&self, service: &str) -> Vec<Value> {
        let reply = self.call("GET", &format!("/v1/services/{service}/history"), None).await;
        assert_eq!(reply.status, 200, "history: {}", reply.text);
        reply.json["entries"].as_array().unwrap().clone()
    }

    /// Waits until every endpoint of the service was probed and found healthy.
    pub(crate) async fn until_healthy(&self, service: &str) {
        until(&format!("{service} to be healthy"), || async {
            let status = self.status(service).await;
            let slots = ["blue", "green"].map(|slot| status["slots"][slot]["endpoints"].as_array().unwrap().clone());
            let well = slots.iter().flatten().all(|endpoint| endpoint["health"] == "healthy");
            if well { Ok(()) } else { Err(status) }
        })
        .await;
    }

    /// Waits until all leases of the slot have ended.
    pub(crate) async fn until_safe_to_delete(&self, service: &str, slot: &str) {
        until(&format!("{service}/{slot} to be safe to delete"), || async {
            let drain = self.drain(service, slot).await;
            if drain["safe_to_delete"] == true { Ok(()) } else { Err(drain) }
        })
        .await;
    }
}
