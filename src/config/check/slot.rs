//! `[service.blue]` and `[service.green]`: endpoints and version.

use std::collections::HashSet;

use toml::Spanned;

use super::{Check, Span};
use crate::{
    config::{
        BadEndpoint,
        schema::{self, Endpoint, Pair},
        settings::{EndpointSettings, SlotSettings, UpstreamAddress},
    },
    ids::PerSlot,
};

impl Check<'_> {
    pub(super) fn slot(&mut self, given: &schema::Slot) -> SlotSettings {
        let (mut endpoints, mut known) = (Vec::new(), HashSet::new());
        for written in &given.endpoints {
            let Some(endpoint) = self.endpoint(written) else { continue };
            if let Some(address) = endpoint.addresses().find(|address| known.contains(*address)) {
                let message = format!("{} stands in this slot already", in_words(address));
                self.refuse(written.span(), message, "write each address once; every endpoint gets the same share");
            } else {
                known.extend(endpoint.addresses().cloned());
                endpoints.push(endpoint);
            }
        }
        SlotSettings { endpoints, version: self.version(&given.version) }
    }

    fn endpoint(&mut self, written: &Spanned<Endpoint>) -> Option<EndpointSettings> {
        let (span, parsed) = match written.get_ref() {
            Endpoint::Url(url) => (written.span(), EndpointSettings::from_url(url)),
            Endpoint::Pair(pair) => pair_of(pair, written.span()),
        };
        parsed.map_err(|bad| self.refuse(span, bad.to_string(), bad.hint())).ok()
    }

    /// It travels in a header, so it is held to what a header can carry.
    fn version(&mut self, given: &schema::Given<String>) -> Option<String> {
        let version = self.filled(given)?;
        if version.len() > VERSION_BYTES_MAX || !version.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let span = given.as_ref().map_or(0..0, Spanned::span);
            let message = format!("a version is at most {VERSION_BYTES_MAX} plain ASCII characters");
            self.refuse(span, message, "write such as \"2026-11-01\" or \"v3\"");
        }
        Some(version.to_owned())
    }

    /// A warning: tests do this on purpose, an operator hardly ever.
    pub(super) fn slots_differ(&mut self, service: Span, slots: &PerSlot<SlotSettings>) {
        let mut of_green = slots.green.endpoints.iter().flat_map(EndpointSettings::addresses);
        let of_blue: HashSet<_> = slots.blue.endpoints.iter().flat_map(EndpointSettings::addresses).collect();
        if let Some(address) = of_green.find(|address| of_blue.contains(address)) {
            let message =
                format!("{} stands in blue and in green, so a switch changes nothing there", in_words(address));
            self.warn(service, message, "give each slot servers of its own");
        }
    }
}

/// The span is the one of the address that is wrong, or of the whole table.
fn pair_of(pair: &Pair, whole: Span) -> (Span, Result<EndpointSettings, BadEndpoint>) {
    let text = |given: &schema::Given<String>| given.as_ref().map(|given| given.get_ref().clone());
    let (http, grpc) = (text(&pair.http), text(&pair.grpc));
    let http_is_wrong = http.as_deref().is_some_and(|http| EndpointSettings::from_url(http).is_err());
    let meant = if http_is_wrong { &pair.http } else { &pair.grpc };
    let span = meant.as_ref().map_or(whole, Spanned::span);
    (span, EndpointSettings::parse(http.as_deref(), grpc.as_deref()))
}

pub(super) fn in_words(address: &UpstreamAddress) -> String {
    match address {
        UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
        UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

const VERSION_BYTES_MAX: usize = 128;
