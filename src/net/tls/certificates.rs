//! Which certificate a client is shown.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Facts;

/// Several certificates, by the names that stand in them. The first is for clients that ask for no name, or for one
/// that no certificate has.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// Indices into `all`, in its order: a name may have a certificate for each kind of key.
    exact: HashMap<String, Vec<usize>>,
    /// By what follows the star: `*.example.org` is `example.org`.
    wildcard: HashMap<String, Vec<usize>>,
}

impl Certificates {
    pub(super) fn add(&mut self, pair: Arc<CertifiedKey>, facts: &Facts) {
        let index = self.all.len();
        self.all.push(pair);
        for name in &facts.dns_names {
            let (names, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            names.entry(name.to_owned()).or_default().push(index);
        }
    }

    /// The indices of those that have this name; a wildcard stands for exactly one label (RFC 9525 section 6.3).
    fn named(&self, name: &str) -> &[usize] {
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(name).or_else(parent).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    /// Among those of the name the first whose key the client can check; rustls tells names in lower case.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map_or(&[][..], |name| self.named(name));
        let usable = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = named.iter().filter_map(|index| self.all.get(*index));
        named.clone().find(usable).or_else(|| named.clone().next()).or_else(|| self.all.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_one_label_and_an_exact_name_wins() {
        let mut certificates = Certificates::default();
        certificates.wildcard.insert("example.org".into(), vec![1]);
        certificates.exact.insert("a.example.org".into(), vec![2]);
        for (name, found) in [
            ("a.example.org", &[2][..]),
            ("b.example.org", &[1]),
            ("x.b.example.org", &[]),
            ("example.org", &[]),
            ("org", &[]),
            ("", &[]),
        ] {
            assert_eq!(certificates.named(name), found, "{name}");
        }
    }
}
