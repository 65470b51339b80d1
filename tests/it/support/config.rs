//! Configuration files for tests: a base that binds port 0 on loopback, and services on top of it.

use std::fmt::Write as _;

use super::{grpc_origin::GrpcOrigin, origin::Origin};

/// A configuration file in the making.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) admin: String,
    /// More tables of the process, such as `[proxy.limits]`.
    pub(crate) tables: String,
    pub(crate) workers: usize,
    pub(crate) services: Vec<Service>,
}

/// One `[[service]]`.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// What stands inside `match = { … }`.
    pub(crate) rule: String,
    pub(crate) active: String,
    /// What stands inside `endpoints = [ … ]`.
    pub(crate) blue: String,
    pub(crate) green: String,
    pub(crate) versions: (String, String),
    /// More keys of the service, before its tables.
    pub(crate) keys: String,
    pub(crate) health: String,
    /// More tables, such as `[service.drain]`.
    pub(crate) tables: String,
}

impl Config {
    pub(crate) fn new(services: Vec<Service>) -> Self {
        let (listen, admin) = ("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned());
        Self { listen, admin, tables: String::new(), workers: 2, services }
    }

    /// One service, `iris`, that takes everything; blue serves.
    pub(crate) fn pair(blue: &Origin, green: &Origin) -> Self {
        Self::new(vec![Service::new("iris", &blue.url(), &green.url())])
    }

    /// The same with gRPC on a port of its own in each slot.
    pub(crate) fn pair_with_grpc(blue: (&Origin, &GrpcOrigin), green: (&Origin, &GrpcOrigin)) -> Self {
        let mut service = Service::new("iris", "", "");
        service.blue = both(blue.0, blue.1);
        service.green = both(green.0, green.1);
        Self::new(vec![service])
    }

    pub(crate) fn tables(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// Changes the only service.
    pub(crate) fn service(mut self, change: impl FnOnce(&mut Service)) -> Self {
        assert_eq!(self.services.len(), 1);
        change(&mut self.services[0]);
        self
    }

    pub(crate) fn text(&self) -> String {
        let (listen, admin, tables, workers) = (&self.listen, &self.admin, &self.tables, self.workers);
        let mut text = format!(
            "version = 1\n[proxy]\nlisten = \"{listen}\"\nworkers = {workers}\n[admin]\nlisten = \"{admin}\"\n[state]\ndir = \"state\"\n[log]\nfilter = \"error\"\n{tables}"
        );
        for service in &self.services {
            service.write(&mut text);
        }
        text
    }
}

impl Service {
    /// A service with one endpoint in each slot; an empty URL is an empty slot.
    pub(crate) fn new(name: &str, blue: &str, green: &str) -> Self {
        let quoted = |url: &str| if url.is_empty() { String::new() } else { format!("\"{url}\"") };
        Self {
            name: name.to_owned(),
            rule: String::new(),
            active: "blue".to_owned(),
            blue: quoted(blue),
            green: quoted(green),
            versions: ("v-blue".to_owned(), "v-green".to_owned()),
            keys: String::new(),
            health: "path = \"/v2/health/ready\"\ninterval = \"50ms\"\ntimeout = \"1s\"".to_owned(),
            tables: String::new(),
        }
    }

    pub(crate) fn rule(mut self, rule: &str) -> Self {
        self.rule = rule.to_owned();
        self
    }

    fn write(&self, text: &mut String) {
        let Self { name, rule, active, blue, green, versions, keys, health, tables } = self;
        writeln!(text, "[[service]]\nname = \"{name}\"\nactive = \"{active}\"\n{keys}").unwrap();
        if !rule.is_empty() {
            writeln!(text, "match = {{ {rule} }}").unwrap();
        }
        for (slot, endpoints, version) in [("blue", blue, &versions.0), ("green", green, &versions.1)] {
            if !endpoints.is_empty() {
                writeln!(text, "[service.{slot}]\nendpoints = [{endpoints}]\nversion = \"{version}\"").unwrap();
            }
        }
        writeln!(text, "[service.health]\n{health}\n{tables}").unwrap();
    }
}

fn both(http: &Origin, grpc: &GrpcOrigin) -> String {
    format!("{{ http = \"{}\", grpc = \"{}\" }}", http.url(), grpc.url())
}
