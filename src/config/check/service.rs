//! One `[[service]]`.

use std::time::Duration;

use http::uri::PathAndQuery;
use toml::Spanned;

use super::{Check, Span};
use crate::{
    config::{
        PreviewSettings, defaults, schema,
        settings::{
            DrainSettings, EndpointSettings, GateSettings, GrpcProbe, HealthSettings, HttpProbe, PoolSettings,
            ReplayPolicy, ServiceSettings, SlotSettings, Timeouts, UpstreamProtocol,
        },
    },
    ids::{PerSlot, ServiceName, Slot},
};

impl Check<'_> {
    /// `None` if there is no name to call it by; its other problems are noted all the same.
    pub(super) fn service(&mut self, written: &Spanned<schema::Service>) -> Option<ServiceSettings> {
        let (span, given) = (written.span(), written.get_ref());
        let name = self.name(span.clone(), given);
        let rule = given.rule.as_ref().map(|rule| self.match_rule(rule.get_ref())).unwrap_or_default();
        let active = self.active(given);
        let slots = PerSlot { blue: self.slot(&given.blue), green: self.slot(&given.green) };
        self.active_slot_is_filled(span.clone(), given, active, &slots);
        self.slots_differ(span.clone(), &slots);
        let health = self.health(&given.health);
        let gate = self.gate(&given.gate, health.interval);
        self.readiness_is_asked_for(span, &given.health, &health, &slots);
        Some(ServiceSettings {
            name: name?,
            rule,
            active,
            replay: self.word("replay policy", &given.replay, &REPLAY_WORDS, ReplayPolicy::Inference),
            replay_buffer: self.size(&given.replay_buffer, 0..=1 << 32, defaults::REPLAY_BUFFER),
            slots,
            health,
            gate,
            timeouts: self.timeouts(&given.timeouts),
            pool: self.pool(&given.pool),
            balance: self.balance(&given.balance),
            ejection: self.ejection(&given.ejection),
            retry: self.retry(&given.retry),
            limits: self.service_limits(&given.limits),
            tls: self.upstream_tls(&given.tls),
            request: self.request_rules(&given.request),
            answer: self.edits(&given.answer.remove, &given.answer.set, &given.answer.add),
            drain: DrainSettings { cut_after: self.unless_off(&given.drain.cut_after, None) },
            preview: self.preview(&given.preview),
        })
    }

    /// `None` where it would let nobody in.
    fn preview(&mut self, given: &schema::Preview) -> Option<PreviewSettings> {
        let allow = self.networks(&given.allow);
        let token_file = self.filled(&given.token_file).map(|path| self.beside_the_file(path));
        (!allow.is_empty() || token_file.is_some()).then_some(PreviewSettings { allow, token_file })
    }

    fn name(&mut self, span: Span, given: &schema::Service) -> Option<ServiceName> {
        let Some(name) = &given.name else {
            self.refuse(span, "the service has no name", "add such as `name = \"iris\"`");
            return None;
        };
        match name.get_ref().parse() {
            Ok(name) => Some(name),
            Err(bad) => {
                self.refuse(name.span(), format!("{bad}"), "it stands in URLs, metrics and file names");
                None
            }
        }
    }

    fn active(&mut self, given: &schema::Service) -> Slot {
        self.word("slot", &given.active, &Slot::BOTH.map(|slot| (slot.as_str(), slot)), Slot::Blue)
    }

    fn active_slot_is_filled(
        &mut self,
        service: Span,
        given: &schema::Service,
        active: Slot,
        slots: &PerSlot<SlotSettings>,
    ) {
        let written = match active {
            Slot::Blue => &given.blue,
            Slot::Green => &given.green,
        };
        if slots[active].endpoints.is_empty() && written.endpoints.is_empty() {
            let span = given.active.as_ref().map_or(service, Spanned::span);
            let hint = format!("add `endpoints = [\"http://127.0.0.1:9001\"]` to `[service.{active}]`");
            self.refuse(span, format!("the active slot {active} has no endpoints"), hint);
        }
    }

    fn health(&mut self, given: &schema::Health) -> HealthSettings {
        let default = defaults::HEALTH;
        HealthSettings {
            http: self.http_probe(given),
            grpc: self.word("gRPC probe", &given.grpc, &GRPC_PROBE_WORDS, default.grpc),
            interval: self.positive(&given.interval, default.interval),
            timeout: self.positive(&given.timeout, default.timeout),
            rise: self.whole(&given.rise, 1..=1_000, default.rise),
            fall: self.whole(&given.fall, 1..=1_000, default.fall),
        }
    }

    fn http_probe(&mut self, given: &schema::Health) -> HttpProbe {
        let Some(path) = &given.path else { return HttpProbe::Connect };
        let text = path.get_ref();
        if !text.starts_with('/') || text.contains('#') || text.parse::<PathAndQuery>().is_err() {
            self.refuse(path.span(), format!("{text:?} is not a path"), "write such as \"/v2/health/ready\"");
        }
        HttpProbe::Get { path: text.clone(), statuses: self.statuses(&given.status, &defaults::HEALTH_STATUSES) }
    }

    fn gate(&mut self, given: &schema::Gate, interval: Duration) -> GateSettings {
        let default = defaults::GATE;
        let (ready, timeout) =
            (self.whole(&given.ready, 1..=1_000, default.ready), self.positive(&given.timeout, default.timeout));
        if let Some(given) = given.ready.as_ref().filter(|_| interval.saturating_mul(ready - 1) >= timeout) {
            let message = format!("{ready} answers, health.interval apart, take longer than gate.timeout allows");
            self.refuse(given.span(), message, "ask for fewer, or raise the time-out");
        }
        let warm_up = self.duration(&given.warm_up, default.warm_up);
        if let Some(given) = given.warm_up.as_ref().filter(|_| warm_up > timeout) {
            let message = "the warm-up may take longer than the whole gate";
            self.refuse(
                given.span(),
                message,
                "write a shorter duration, \"0s\" for no warm-up, or raise gate.timeout",
            );
        }
        GateSettings {
            ready,
            golden: given.golden.as_ref().map(|path| self.beside_the_file(path.get_ref())),
            contract: given.contract.as_ref().map_or(default.contract, |given| *given.get_ref()),
            warm_up,
            warm_up_requests: given.warm_up_requests.as_ref().map(|path| self.beside_the_file(path.get_ref())),
            warm_up_concurrency: self.whole(&given.warm_up_concurrency, 1..=1_024, default.warm_up_concurrency),
            timeout,
        }
    }

    fn timeouts(&mut self, given: &schema::Timeouts) -> Timeouts {
        let default = defaults::TIMEOUTS;
        Timeouts {
            connect: self.positive(&given.connect, default.connect),
            first_byte: self.unless_off(&given.first_byte, default.first_byte),
            idle: self.unless_off(&given.idle, default.idle),
            request: self.unless_off(&given.request, default.request),
            tunnel_idle: self.unless_off(&given.tunnel_idle, default.tunnel_idle),
        }
    }

    fn pool(&mut self, given: &schema::Pool) -> PoolSettings {
        let default = defaults::POOL;
        PoolSettings {
            idle_timeout: self.positive(&given.idle_timeout, default.idle_timeout),
            idle_max: self.whole(&given.idle_max, 0..=1_000_000, default.idle_max),
            resolve_interval: self.positive(&given.resolve_interval, default.resolve_interval),
        }
    }

    /// A warning, since a server may have nothing to ask: a connect proves only that something listens.
    fn readiness_is_asked_for(
        &mut self,
        span: Span,
        given: &schema::Health,
        health: &HealthSettings,
        slots: &PerSlot<SlotSettings>,
    ) {
        let endpoints = || slots.iter().flat_map(|(_, slot)| &slot.endpoints);
        let asked_by_grpc = |endpoint: &EndpointSettings| {
            let one_h2c = endpoint.http.as_ref().is_some_and(|url| url.protocol == UpstreamProtocol::H2c);
            endpoint.grpc.is_none() && one_h2c && health.grpc != GrpcProbe::Connect
        };
        if health.http == HttpProbe::Connect && endpoints().any(|e| e.http.is_some() && !asked_by_grpc(e)) {
            let hint = "add `path` to `[service.health]`, such as \"/v2/health/ready\"";
            self.warn(span.clone(), "without a health path only a TCP connect is checked, which proves little", hint);
        }
        if given.grpc.is_none() && endpoints().any(|endpoint| endpoint.grpc.is_some()) {
            let hint =
                "add `grpc = \"v2\"` or `grpc = \"health\"` to `[service.health]`, or \"connect\" to say it is meant";
            self.warn(span, "of gRPC addresses only a TCP connect is checked, which proves little", hint);
        }
    }
}

const REPLAY_WORDS: [(&str, ReplayPolicy); 4] = [
    ("inference", ReplayPolicy::Inference),
    ("reused", ReplayPolicy::Reused),
    ("idempotent", ReplayPolicy::Idempotent),
    ("never", ReplayPolicy::Never),
];

const GRPC_PROBE_WORDS: [(&str, GrpcProbe); 3] =
    [("v2", GrpcProbe::V2), ("health", GrpcProbe::Health), ("connect", GrpcProbe::Connect)];
