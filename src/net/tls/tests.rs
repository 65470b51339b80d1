use std::{fs, path::PathBuf, time::SystemTime};

use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;
use crate::config::settings::{ClientAuth, KeyPairFiles, TlsSettings};

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn settings(&self) -> TlsSettings {
        let pair = KeyPairFiles { cert: self.path("cert.pem"), key: self.path("key.pem") };
        TlsSettings { certificates: vec![pair], client_auth: None }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// Certificate and key, in PEM.
fn issue(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn load(settings: &TlsSettings) -> Result<Prepared, Vec<String>> {
    Prepared::load("proxy.tls", Alpn::Both, settings)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn facts_are_read_from_a_certificate() {
    let mut params = params(&["A.example.org", "*.b.test"]);
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.subject_alt_names.push(rcgen::SanType::URI("spiffe://x/y".try_into().unwrap()));
    params.subject_alt_names.push(rcgen::SanType::IpAddress([127, 0, 0, 1].into()));
    params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let facts = facts(der.der()).unwrap();
    assert_eq!(facts.dns_names, ["a.example.org", "*.b.test"]);
    assert_eq!(facts.other_names, ["spiffe://x/y"]);
    assert_eq!(facts.name(), Some("alice"));
    assert_eq!(facts.not_after, humantime::parse_rfc3339("2031-02-03T00:00:00Z").unwrap());
    params.not_after = rcgen::date_time_ymd(2099, 12, 31);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let late = super::facts(der.der()).unwrap().not_after;
    assert_eq!(late, humantime::parse_rfc3339("2099-12-31T00:00:00Z").unwrap());
}

proptest! {
    /// Fails when: reading a certificate can panic on any bytes.
    #[test]
    fn no_bytes_break_the_reading(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0usize..600, cut in 0usize..600) {
        let _ = facts(&bytes);
        let der = params(&["a.test"]).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let mut real = der.der().to_vec();
        real.truncate(real.len().saturating_sub(cut));
        let at = at.min(real.len());
        real.splice(at..at, bytes.drain(..));
        let _ = facts(&real);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_key() {
    let files = Files::new();
    let (cert, key) = issue(&params(&["a.test"]));
    let (_, other_key) = issue(&params(&["a.test"]));
    let told = |what: &str, key: &str, words: &str| {
        let problems = load(&files.settings()).unwrap_err();
        assert_eq!(problems.len(), 1, "{what}: {problems:?}");
        assert!(problems[0].starts_with(&format!("proxy.tls.{key}: ")), "{what}: {problems:?}");
        assert!(problems[0].contains(words), "{what}: {problems:?}");
    };
    files.write("key.pem", &key);
    told("no file", "cert", "cannot read");
    files.write("cert.pem", "hello");
    told("no PEM", "cert", "has no certificate");
    files.write("cert.pem", &key);
    told("a key instead", "cert", "has no certificate");
    files.write("cert.pem", &cert[..cert.len() / 2]);
    told("half", "cert", "written half");
    files.write("cert.pem", &cert);
    load(&files.settings()).unwrap();
    files.write("key.pem", &other_key);
    told("another key", "key", "does not belong");
    files.write("key.pem", &cert);
    told("no key", "key", "no private key");
    files.write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    told("encrypted", "key", "is encrypted");
    files.write(
        "key.pem",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,B\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
    );
    told("encrypted, the old way", "key", "is encrypted");
}

#[test]
fn every_file_that_is_wrong_is_told() {
    let files = Files::new();
    let (cert, key) = issue(&params(&["a.test"]));
    files.write("cert.pem", &cert);
    files.write("key.pem", &key);
    let mut settings = files.settings();
    settings.certificates.push(KeyPairFiles { cert: files.path("no.pem"), key: files.path("key.pem") });
    settings.client_auth = Some(ClientAuth { ca: files.path("key.pem"), required: true });
    let problems = load(&settings).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("proxy.tls.more[0].cert: cannot read"), "{problems:?}");
    assert!(problems[1].starts_with("proxy.tls.client_ca: "), "{problems:?}");
}

#[test]
fn an_expired_certificate_is_warned_of() {
    let files = Files::new();
    let mut old = params(&["a.test"]);
    (old.not_before, old.not_after) = (rcgen::date_time_ymd(2000, 1, 1), rcgen::date_time_ymd(2001, 1, 1));
    let (cert, key) = issue(&old);
    files.write("cert.pem", &cert);
    files.write("key.pem", &key);
    let warnings = load(&files.settings()).unwrap().warnings("proxy.tls");
    assert!(warnings[0].contains("expired at 2001-01-01T00:00:00Z"), "{warnings:?}");
}

/// Fails when: a renewal that writes one file after the other leaves a mismatched pair in force, or ends without the
/// new one; or trouble is not told, or outlives its reason.
#[test]
fn a_renewal_in_two_steps_ends_with_the_new_pair() {
    let files = Files::new();
    let expiring = |year| {
        let mut params = params(&["a.test"]);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        issue(&params)
    };
    let (old, new) = (expiring(2040), expiring(2041));
    files.write("cert.pem", &old.0);
    files.write("key.pem", &old.1);
    let settings = files.settings();
    let tls = ServerTls::new("proxy.tls", Alpn::Both, settings.clone(), load(&settings).unwrap());
    let first = tls.config();
    let year = || {
        tls.certificates()[0].facts.not_after > SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_240_000_000)
    };
    tls.refresh();
    assert!(Arc::ptr_eq(&first, &tls.config()), "nothing changed");
    files.write("cert.pem", &new.0);
    tls.refresh();
    assert!(Arc::ptr_eq(&first, &tls.config()), "a mismatched pair keeps the old one");
    assert!(tls.trouble().is_some_and(|words| words.contains("does not belong")));
    files.write("key.pem", &new.1);
    tls.refresh();
    assert!(!Arc::ptr_eq(&first, &tls.config()) && year(), "the new pair");
    assert_eq!(tls.trouble(), None);
    assert!(Arc::ptr_eq(&first.ticketer, &tls.config().ticketer), "clients resume over a renewal");
}

/// Fails when: a client whose signer was taken out resumes with a ticket of before.
#[test]
fn tickets_end_with_who_signs_clients() {
    let files = Files::new();
    let (cert, key) = issue(&params(&["a.test"]));
    files.write("cert.pem", &cert);
    files.write("key.pem", &key);
    files.write("ca.pem", &issue(&params(&["ca"])).0);
    let mut settings = files.settings();
    settings.client_auth = Some(ClientAuth { ca: files.path("ca.pem"), required: true });
    let tls = ServerTls::new("proxy.tls", Alpn::Both, settings.clone(), load(&settings).unwrap());
    let before = tls.config().ticketer.clone();
    files.write("ca.pem", &issue(&params(&["ca"])).0);
    tls.refresh();
    assert_eq!(tls.trouble(), None);
    assert!(!Arc::ptr_eq(&before, &tls.config().ticketer));
}
