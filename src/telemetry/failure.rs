//! The name of every way a request can fail: one word for the `x-verdigris-error` header, the metric label, the access
//! log and the JSON body alike.

use std::fmt;

/// Who is to blame for a failure. Only [`Blame::Upstream`] may ever count against a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Upstream,
    Proxy,
}

macro_rules! failure_kinds {
    ($($(#[$doc:meta])* $variant:ident = ($name:literal, $status:literal, $grpc:literal, $blame:ident),)*) => {
        /// A way to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureKind { $($(#[$doc])* $variant,)* }

        impl FailureKind {
            /// Every kind, in the order of their counters.
            pub const ALL: &'static [FailureKind] = &[$(FailureKind::$variant,)*];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(FailureKind::$variant => $name,)* }
            }

            /// The HTTP status of the answer the proxy makes.
            pub fn status(self) -> u16 {
                match self { $(FailureKind::$variant => $status,)* }
            }

            /// The gRPC status code of the answer the proxy makes to a gRPC call.
            pub fn grpc_status(self) -> u8 {
                match self { $(FailureKind::$variant => $grpc,)* }
            }

            /// Whose failure it is.
            pub fn blame(self) -> Blame {
                match self { $(FailureKind::$variant => Blame::$blame,)* }
            }
        }
    };
}

failure_kinds! {
    /// No service's rule takes the request.
    NoService = ("no_service", 404, 12, Client),
    /// The request is malformed or ambiguous in a way the parser lets pass.
    BadRequest = ("bad_request", 400, 3, Client),
    /// The request's head did not come within `limits.header_timeout`.
    HeaderTimeout = ("header_timeout", 408, 4, Client),
    /// The request's head has more fields or bytes than the limits allow.
    HeadersTooLarge = ("headers_too_large", 431, 8, Client),
    /// The request's target is longer than the limits allow.
    UriTooLong = ("uri_too_long", 414, 8, Client),
    /// The method has no meaning at a reverse proxy (`CONNECT`).
    MethodRefused = ("method_refused", 405, 12, Client),
    /// A transfer coding other than `chunked`.
    UnknownCoding = ("unknown_transfer_coding", 501, 12, Client),
    /// The client's body broke off or was malformed.
    ClientBody = ("client_body", 400, 3, Client),
    /// The request body is longer than the service's `request.body_max`.
    BodyTooLarge = ("body_too_large", 413, 8, Client),
    /// No byte of the request body for `limits.body_timeout`.
    BodyTimeout = ("body_timeout", 408, 4, Client),
    /// The client went away before the answer was complete.
    ClientGone = ("client_gone", 499, 1, Client),
    /// The client took nothing of its answer for `limits.send_timeout`.
    ClientStalled = ("client_stalled", 499, 1, Client),
    /// A gRPC call was not done within the client's own `grpc-timeout`.
    DeadlineExceeded = ("deadline_exceeded", 504, 4, Client),
    /// An HTTP/2 client reset more streams than `limits.resets_max`.
    ResetFlood = ("reset_flood", 429, 8, Client),
    /// The caller may not choose a slot: neither its network nor its token is the service's.
    PreviewDenied = ("preview_denied", 403, 7, Client),
    /// `x-verdigris-slot` names no slot, or more than one.
    PreviewInvalid = ("preview_invalid", 400, 3, Client),
    /// The slot that the caller chose has served already, and takes nothing new.
    PreviewUnavailable = ("preview_unavailable", 409, 9, Proxy),
    /// The slot has no endpoint.
    SlotEmpty = ("slot_empty", 503, 14, Proxy),
    /// A gRPC call, and no endpoint of the slot speaks HTTP/2.
    NoGrpcAddress = ("no_grpc_address", 502, 12, Proxy),
    /// An HTTP request, and the endpoint has only a gRPC address.
    NoHttpAddress = ("no_http_address", 502, 12, Proxy),
    /// The endpoint's name could not be resolved.
    UpstreamName = ("upstream_name", 502, 14, Upstream),
    /// The endpoint refused the connection, or it failed otherwise.
    UpstreamConnect = ("upstream_connect", 502, 14, Upstream),
    /// The connection was not there within `timeouts.connect`.
    UpstreamConnectTimeout = ("upstream_connect_timeout", 504, 14, Upstream),
    /// The TLS handshake failed: the endpoint is not who it should be, or does not take the proxy for who it is.
    UpstreamTls = ("upstream_tls", 502, 14, Upstream),
    /// The connection was closed or reset before an answer.
    UpstreamClosed = ("upstream_closed", 502, 14, Upstream),
    /// What came back is not HTTP, or not an answer to this request.
    UpstreamMalformed = ("upstream_malformed", 502, 13, Upstream),
    /// No first byte of an answer within `timeouts.first_byte`.
    UpstreamTimeout = ("upstream_timeout", 504, 4, Upstream),
    /// Nothing of an answer within `timeouts.idle`, though it had begun.
    UpstreamIdle = ("upstream_idle", 504, 4, Upstream),
    /// The request was not done within `timeouts.request`.
    RequestTimeout = ("request_timeout", 504, 4, Upstream),
    /// Nothing passed through an upgraded connection within `timeouts.tunnel_idle`.
    TunnelIdle = ("tunnel_idle", 504, 4, Proxy),
    /// As many requests as `limits.queue` permits wait for the slot already.
    QueueFull = ("queue_full", 429, 8, Proxy),
    /// The request's turn did not come within `limits.queue_timeout`.
    QueueTimeout = ("queue_timeout", 503, 14, Proxy),
    /// The answer broke off.
    UpstreamCut = ("upstream_cut", 502, 14, Upstream),
    /// A drain or shutdown deadline cut the request.
    DrainCut = ("drain_cut", 503, 14, Proxy),
    /// A defect of the proxy: the handler panicked.
    Internal = ("internal", 500, 13, Proxy),
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_label_values() {
        let mut names: Vec<_> = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureKind::ALL.len());
        for (index, kind) in FailureKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index, "the counters are indexed by discriminant");
        }
    }
}
