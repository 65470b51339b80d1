//! What may be sent again on a fresh connection after one died before a byte of an answer (P5): a reused one whose close
//! crossed the request, or one that was lost with its server.
//!
//! RFC 9110 section 9.2.2 lets a proxy repeat idempotent requests only. Inference is a pure function of its request,
//! and a closed idle connection is where proxies in front of model servers lose the most, so `replay = "inference"`
//! adds the POSTs that are known to be inference. The README lists them; a test holds the two together.

use http::{HeaderMap, HeaderName, Method};

use crate::config::settings::ReplayPolicy;

/// True if the service's policy permits sending the request again.
pub(super) fn is_permitted(policy: ReplayPolicy, method: &Method, path: &str, headers: &HeaderMap) -> bool {
    match policy {
        ReplayPolicy::Never => false,
        ReplayPolicy::Reused => true,
        ReplayPolicy::Idempotent => method.is_idempotent() || has_key(headers),
        ReplayPolicy::Inference => {
            method.is_idempotent() || (method == Method::POST && is_inference(path)) || has_key(headers)
        }
    }
}

fn has_key(headers: &HeaderMap) -> bool {
    headers.contains_key(IDEMPOTENCY_KEY)
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Paths that end so are inference, below whatever prefix.
pub const INFERENCE_ENDINGS: &[&str] = &[
    // Open Inference Protocol V2, and Triton's generate extension
    "/infer",
    "/generate",
    "/generate_stream",
    // TensorFlow Serving and KServe V1
    ":predict",
    ":classify",
    ":regress",
    ":explain",
    // OpenAI-style servers
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/score",
    "/v1/moderations",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    // text-embeddings-inference, llama.cpp
    "/embed",
    "/rerank",
    "/predict",
    "/completion",
    "/embedding",
    "/tokenize",
    "/detokenize",
    // gRPC: Open Inference Protocol V2, TensorFlow Serving
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ServerMetadata",
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/ModelMetadata",
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
];

fn is_inference(path: &str) -> bool {
    // The last byte tells most of them apart.
    let last = path.as_bytes().last();
    INFERENCE_ENDINGS.iter().any(|ending| ending.as_bytes().last() == last && path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_permit_what_they_say() {
        let none = HeaderMap::new();
        let mut keyed = HeaderMap::new();
        keyed.insert("idempotency-key", "k".parse().unwrap());
        let (get, post) = (&Method::GET, &Method::POST);
        use ReplayPolicy::{Idempotent, Inference, Never, Reused};
        for (policy, method, path, headers, permitted) in [
            (Inference, get, "/x", &none, true),
            (Inference, post, "/v2/models/iris/infer", &none, true),
            (Inference, post, "/v2/models/iris/versions/3/infer", &none, true),
            (Inference, post, "/v1/models/iris:predict", &none, true),
            (Inference, post, "/inference.GRPCInferenceService/ModelInfer", &none, true),
            (Inference, post, "/inference.GRPCInferenceService/ModelStreamInfer", &none, false),
            (Inference, post, "/v2/repository/models/iris/load", &none, false),
            (Inference, post, "/v1/files", &none, false),
            (Inference, post, "/v1/files", &keyed, true),
            (Inference, &Method::PATCH, "/infer", &none, false),
            (Idempotent, post, "/v2/models/iris/infer", &none, false),
            (Idempotent, post, "/x", &keyed, true),
            (Idempotent, &Method::DELETE, "/x", &none, true),
            (Reused, post, "/x", &none, true),
            (Never, get, "/x", &keyed, false),
        ] {
            assert_eq!(is_permitted(policy, method, path, headers), permitted, "{policy:?} {method} {path}");
        }
    }
}
