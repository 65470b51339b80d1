//! The variable parts of a path and of a query.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::answer::Refusal;
use crate::{
    api::{Problem, ProblemKind},
    ids::Slot,
};

/// `/v1/services/{service}/…`. Whether there is such a service, control knows.
pub(super) struct AtService(pub(super) String);

/// `/v1/services/{service}/slots/{slot}/…`
pub(super) struct AtSlot(pub(super) String, pub(super) Slot);

/// A query in which every key is known.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync> FromRequestParts<S> for AtService {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(service) = path.map_err(|rejection| not_found(&rejection.body_text()))?;
        Ok(Self(service))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtSlot {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((service, slot)) = path.map_err(|rejection| not_found(&rejection.body_text()))?;
        let slot = slot.parse().map_err(|bad: crate::ids::BadSlot| not_found(&bad.to_string()))?;
        Ok(Self(service, slot))
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(asked) = query.map_err(|rejection| Problem::new(ProblemKind::Invalid, rejection.body_text()))?;
        Ok(Self(asked))
    }
}

fn not_found(why: &str) -> Refusal {
    Problem::new(ProblemKind::NotFound, why).into()
}
