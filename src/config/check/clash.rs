//! What is right by itself but not beside the rest of the file.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use toml::Spanned;

use super::{Check, Checked, Span, slot::in_words};
use crate::config::{
    schema::{File, Service},
    settings::{AdminListen, AdminSettings, EndpointSettings, ProxySettings, ServiceSettings, UpstreamAddress},
};

impl Check<'_> {
    pub(super) fn listeners_differ(&mut self, proxy: &ProxySettings, admin: &AdminSettings, file: &File) {
        let AdminListen::Tcp(admin) = admin.listen else { return };
        if overlap(proxy.listen, admin) {
            let given = file.admin.listen.as_ref().or(file.proxy.listen.as_ref());
            let message = format!("proxy.listen {} and admin.listen {admin} want the same port", proxy.listen);
            self.refuse(given.map_or(0..0, Spanned::span), message, "give each a port of its own");
        }
    }

    pub(super) fn names_differ(&mut self, services: &[Checked<'_>]) {
        let mut seen = HashSet::new();
        for (written, service) in services {
            if !seen.insert(&service.name) {
                let span = span_in(*written, |given| given.name.as_ref().map(Spanned::span));
                let message = format!("an earlier service is named {:?} too", service.name.as_str());
                self.refuse(span, message, "give each service a name of its own");
            }
        }
    }

    /// Of two equal rules only one can ever take a request.
    pub(super) fn rules_differ(&mut self, services: &[Checked<'_>]) {
        let mut seen = HashMap::new();
        for (written, service) in services {
            let Some(first) = seen.insert(&service.rule, &service.name) else { continue };
            seen.insert(&service.rule, first);
            let span = span_in(*written, |given| given.rule.as_ref().map(Spanned::span));
            let message = format!("no request can reach this service: {first} has the same match");
            self.refuse(span, message, "make the two differ in host, path_prefix or headers");
        }
    }

    pub(super) fn services_fit(&mut self, services: &[Checked<'_>], proxy: &ProxySettings) {
        for (written, service) in services {
            self.no_circle(*written, service, proxy.listen);
            let total = proxy.limits.replay_buffer_total;
            let is_default = written.is_some_and(|written| written.get_ref().replay_buffer.is_none());
            if service.replay_buffer > total && !is_default {
                let span = span_in(*written, |given| given.replay_buffer.as_ref().map(Spanned::span));
                let message = format!("it is more than proxy.limits.replay_buffer_total ({total} bytes)");
                self.warn(span, message, "raise the total or lower this; longer bodies go without replay");
            }
        }
    }

    /// An endpoint that is the proxy itself would send a request round and round.
    fn no_circle(&mut self, written: Option<&Spanned<Service>>, service: &ServiceSettings, own: SocketAddr) {
        let endpoints = service.slots.iter().flat_map(|(_, slot)| &slot.endpoints);
        if let Some(address) = endpoints.flat_map(EndpointSettings::addresses).find(|address| is(address, own)) {
            let message = format!("endpoint {} is this proxy itself (proxy.listen is {own})", in_words(address));
            let span = span_in(written, |_| None);
            self.refuse(span, message, "write the model server's address, or listen on another port");
        }
    }
}

/// Where a part of a service stands, or else the service.
fn span_in(written: Option<&Spanned<Service>>, part: impl Fn(&Service) -> Option<Span>) -> Span {
    written.map_or(0..0, |written| part(written.get_ref()).unwrap_or(written.span()))
}

/// Port 0 is another one each time it is bound.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (any || one.ip() == other.ip())
}

fn is(address: &UpstreamAddress, own: SocketAddr) -> bool {
    let UpstreamAddress::Tcp { host, port } = address else { return false };
    if *port != own.port() || own.port() == 0 {
        return false;
    }
    let ip = if host == "localhost" { Ok(IpAddr::from([127, 0, 0, 1])) } else { host.parse::<IpAddr>() };
    // Behind an unspecified listener only loopback is known to be this machine.
    let reached = |ip: IpAddr| ip == own.ip() || own.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
    ip.is_ok_and(reached)
}
