//! Every metric's name and help text. `README.md` lists the same; a test holds the two together.

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = ($text:literal, $help:literal);)*) => {
        $($(#[$doc])* pub const $name: (&str, &str) = ($text, $help);)*
        /// Every metric: name and help.
        pub const ALL: &[(&str, &str)] = &[$($name,)*];
    };
}

metrics! {
    REQUESTS = ("verdigris_requests_total", "Requests finished, by service, slot, version and status class (code).");
    FAILURES = ("verdigris_request_failures_total", "Requests that failed, by service, slot, version and kind.");
    DURATION = ("verdigris_request_duration_seconds", "From a request's head to the last byte of its answer.");
    FIRST_BYTE = ("verdigris_first_byte_seconds", "From a request's head to the head of its answer.");
    IN_FLIGHT = ("verdigris_in_flight", "Leases held, by service, slot, version and kind (unary, stream, tunnel).");
    REPLAYS = ("verdigris_replays_total", "Requests sent again on a fresh connection, by service, slot and version.");
    REPLAYS_REFUSED = ("verdigris_replays_refused_total", "Failures of a reused connection that could not be replayed, by service, slot and version.");
    RETRIES = ("verdigris_retries_total", "Requests sent to another endpoint after one failed them, by service, slot and version.");
    RETRIES_REFUSED = ("verdigris_retries_refused_total", "Retries that the budget did not allow, by service, slot and version.");
    QUEUED = ("verdigris_queued", "Requests that wait for their turn, by service and slot.");
    UNROUTED = ("verdigris_unrouted_failures_total", "Requests that failed before a service took them, by kind.");
    ACTIVE = ("verdigris_active", "1 for the slot that serves, 0 for the other, by service and slot.");
    GENERATION = ("verdigris_generation", "The service's generation.");
    SWITCHES = ("verdigris_switches_total", "Switches, rollbacks and slot changes, by service, action and outcome.");
    GATES = ("verdigris_gates_total", "Gates that were run, by service, slot, purpose and result.");
    HEALTHY = ("verdigris_endpoint_healthy", "1 if the endpoint is healthy, 0 if not or not probed yet.");
    EJECTED = ("verdigris_endpoint_ejected", "1 while the endpoint is left out because requests failed there in a row, else 0.");
    EJECTIONS = ("verdigris_endpoint_ejections_total", "Ejections of endpoints, by service and slot.");
    RELOADS = ("verdigris_reloads_total", "Readings of the config file, by outcome (applied, unchanged, refused).");
    RELOAD_OK = ("verdigris_config_ok", "0 while the config file on disk is refused and an older one serves on.");
    CERTIFICATES_OK = ("verdigris_tls_certificates_ok", "0 while certificate files on disk cannot be used and older ones serve on, by listener.");
    CERTIFICATE_EXPIRES = ("verdigris_tls_certificate_expires_timestamp_seconds", "When a certificate that serves expires, by listener and file.");
    CONNECTION_FAILURES = ("verdigris_connection_failures_total", "Client connections that ended before their first request, by kind (tls_handshake, plain_http, proxy_header).");
    CONNECTIONS = ("verdigris_client_connections", "Open client connections, by worker.");
    TASKS = ("verdigris_tasks", "Tasks that live on a worker: connections of both sides and what serves them, by worker.");
    LEASES_CUT = ("verdigris_leases_cut_total", "Leases cut by a drain deadline, by service and slot.");
    ACCESS_DROPPED = ("verdigris_access_records_dropped_total", "Access records dropped because the log could not keep up.");
    BUILD = ("verdigris_build_info", "Always 1; the version is a label.");
}
