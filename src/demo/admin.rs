//! The three admin calls that the demo makes, each on a connection of its own.

use std::{net::SocketAddr, time::Duration};

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::client::{Client, ClientError, request};
use crate::api::{ChangeReply, Problem, RollbackRequest, ServiceStatus, SwitchRequest};

/// A status answers at once.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// A switch runs its gate first, and may wait for a drain that takes as long as the longest stream.
const CHANGE_PATIENCE: Duration = Duration::from_secs(40);

/// A service's status is a few KiB.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why an admin call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("the admin API did not answer {path}")]
    Unreachable {
        path: String,
        #[source]
        source: ClientError,
    },
    #[error("the admin API did not answer {path} within {} s", patience.as_secs())]
    Late { path: String, patience: Duration },
    #[error("the admin API refused {path}: {problem}")]
    Refused { path: String, problem: Box<Problem> },
    #[error("the admin API's answer to {path} was not understood: {detail}")]
    Strange { path: String, detail: String },
}

/// The admin API of the demo's proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin {
    addr: SocketAddr,
}

impl Admin {
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self { addr }
    }

    /// `GET /v1/services/iris`.
    pub(super) async fn status(self) -> Result<ServiceStatus, AdminError> {
        self.call("/v1/services/iris", None::<&()>, STATUS_PATIENCE).await
    }

    /// `POST /v1/services/iris/switch`.
    pub(super) async fn switch(self, order: &SwitchRequest) -> Result<ChangeReply, AdminError> {
        self.call("/v1/services/iris/switch", Some(order), CHANGE_PATIENCE).await
    }

    /// `POST /v1/services/iris/rollback`.
    pub(super) async fn rollback(self, order: &RollbackRequest) -> Result<ChangeReply, AdminError> {
        self.call("/v1/services/iris/rollback", Some(order), CHANGE_PATIENCE).await
    }

    async fn call<T: DeserializeOwned>(
        self,
        path: &str,
        order: Option<&impl Serialize>,
        patience: Duration,
    ) -> Result<T, AdminError> {
        let strange = |detail: String| AdminError::Strange { path: path.to_owned(), detail };
        let order = order.map(serde_json::to_string).transpose().map_err(|error| strange(error.to_string()))?;
        let request = request(self.addr, path, order).map_err(|error| strange(error.to_string()))?;
        let exchange = async {
            let mut client = Client::new(self.addr);
            let answer = client.send(request).await;
            let answer = answer.map_err(|source| AdminError::Unreachable { path: path.to_owned(), source })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| strange(error.to_string()))?.to_bytes()))
        };
        let late = |_| AdminError::Late { path: path.to_owned(), patience };
        let (status, body) = timeout(patience, exchange).await.map_err(late)??;
        understand(path, status, &body)
    }
}

/// 202 is a success too: the change was made, the wait for the drain ended first.
fn understand<T: DeserializeOwned>(path: &str, status: StatusCode, body: &[u8]) -> Result<T, AdminError> {
    let path = path.to_owned();
    if !status.is_success() {
        return Err(match serde_json::from_slice(body) {
            Ok(problem) => AdminError::Refused { path, problem: Box::new(problem) },
            Err(_) => AdminError::Strange { path, detail: format!("status {status}") },
        });
    }
    serde_json::from_slice(body).map_err(|error| AdminError::Strange { path, detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_words() {
        let body = br#"{"error":"refused","message":"green is not ready"}"#;
        let refused = understand::<ChangeReply>("/x", StatusCode::CONFLICT, body).unwrap_err();
        assert_eq!(refused.to_string(), "the admin API refused /x: green is not ready");
        let strange = understand::<ChangeReply>("/x", StatusCode::BAD_GATEWAY, b"<html>").unwrap_err();
        assert!(strange.to_string().contains("502"), "{strange}");
        let strange = understand::<ChangeReply>("/x", StatusCode::OK, b"{}").unwrap_err();
        assert!(matches!(strange, AdminError::Strange { .. }));
    }
}
