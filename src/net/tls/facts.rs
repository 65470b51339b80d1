//! The few facts of a certificate that the proxy itself looks at (RFC 5280 section 4.1). Whether it is to be trusted is
//! decided by rustls alone.

use std::time::SystemTime;

/// What stands in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Host names of the subject alternative names, in lower case; a wildcard as `*.example.org`.
    pub dns_names: Vec<String>,
    /// Addresses in the form of a URI, such as SPIFFE's, and of mail.
    pub other_names: Vec<String>,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// From then on nobody trusts it.
    pub not_after: SystemTime,
}

impl Facts {
    /// What to call whoever shows this certificate.
    pub fn name(&self) -> Option<&str> {
        let names = self.common_name.iter().chain(&self.other_names).chain(&self.dns_names);
        names.map(String::as_str).find(|name| !name.trim().is_empty())
    }
}

/// Reads a certificate in DER. `None` if it is not one.
pub fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut body = Der(Der(Der(certificate).expect(SEQUENCE)?).expect(SEQUENCE)?);
    body.skip_if(VERSION)?;
    body.expect(INTEGER)?;
    body.expect(SEQUENCE)?; // The signature's algorithm.
    body.expect(SEQUENCE)?; // The issuer.
    let mut validity = Der(body.expect(SEQUENCE)?);
    validity.next()?;
    let not_after = time(validity.next()?)?;
    let common_name = common_name(body.expect(SEQUENCE)?);
    body.expect(SEQUENCE)?; // The public key.
    let mut facts = Facts { dns_names: Vec::new(), other_names: Vec::new(), common_name, not_after };
    while let Some((tag, value)) = body.next() {
        if tag == EXTENSIONS {
            facts.note_names(subject_names(value).unwrap_or_default());
        }
    }
    Some(facts)
}

impl Facts {
    fn note_names(&mut self, names: &[u8]) {
        let mut names = Der(names);
        while let Some((tag, value)) = names.next() {
            let Ok(text) = std::str::from_utf8(value) else { continue };
            match tag {
                DNS_NAME => self.dns_names.push(text.to_ascii_lowercase()),
                MAIL | URI => self.other_names.push(text.to_owned()),
                _ => {}
            }
        }
    }
}

/// The content of the subject alternative names among the extensions.
fn subject_names(extensions: &[u8]) -> Option<&[u8]> {
    let mut list = Der(Der(extensions).expect(SEQUENCE)?);
    loop {
        let mut extension = Der(list.expect(SEQUENCE)?);
        if extension.expect(OBJECT_ID)? == SUBJECT_ALT_NAME {
            extension.skip_if(BOOLEAN)?;
            return Der(extension.expect(OCTETS)?).expect(SEQUENCE);
        }
    }
}

fn common_name(subject: &[u8]) -> Option<String> {
    let mut parts = Der(subject);
    loop {
        let mut attribute = Der(Der(parts.expect(SET)?).expect(SEQUENCE)?);
        if attribute.expect(OBJECT_ID)? == COMMON_NAME {
            let (_, text) = attribute.next()?;
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
    }
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after (RFC 5280 section 4.1.2.5).
fn time((tag, value): (u8, &[u8])) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, time) = digits.split_at(8);
    let text = format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&text).ok()
}

/// Elements of DER that have not been read yet.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content. `None` at the end, and where the bytes are not DER.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let mut length = usize::from(first);
        if first & LONG != 0 {
            let (bytes, after) = rest.split_at_checked(usize::from(first & !LONG))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            length = bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// Passes over an element that need not be there. `None` only where the bytes are not DER.
    fn skip_if(&mut self, wanted: u8) -> Option<()> {
        if self.0.first() == Some(&wanted) {
            self.next()?;
        }
        Some(())
    }
}

const LONG: u8 = 0x80;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const MAIL: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
