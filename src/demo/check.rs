//! Is an answer whole, well formed and from one version? Pure: heads and bytes in, verdict out.

use http::{HeaderMap, StatusCode, response};

use super::{
    classifier::{SPECIES, Version},
    client::ClientError,
    protocol::{Answer, Token},
    tokens::DONE,
};

/// More than any event of the token stream, so that a stream without event ends is not collected for ever.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("status {status}{kind}")]
    Refused { status: StatusCode, kind: String },
    #[error("no whole answer")]
    Broken(#[from] ClientError),
    #[error("no answer in time")]
    Late,
    #[error("malformed answer: {0}")]
    Malformed(String),
    #[error("answer of two versions: {0}")]
    Mixed(String),
    #[error("the stream ended without {DONE}, after {0} tokens")]
    Unfinished(usize),
}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        Fault::Broken(error.into())
    }
}

/// Whether the proxy stands in between and has to name the version in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests load a server without a proxy"))]
    Direct,
    Proxied,
}

/// Checks the head; returns the version that `x-verdigris-version` names.
pub(super) fn check_head(head: &response::Parts, path: Path) -> Result<Option<Version>, Fault> {
    if head.status != StatusCode::OK {
        let kind = header(&head.headers, "x-verdigris-error");
        let kind = kind.map(|kind| format!(" (x-verdigris-error: {kind})")).unwrap_or_default();
        return Err(Fault::Refused { status: head.status, kind });
    }
    match (header(&head.headers, "x-verdigris-version"), path) {
        (None, Path::Direct) => Ok(None),
        (None, Path::Proxied) => Err(Fault::Malformed("no x-verdigris-version".to_owned())),
        (Some(text), _) => version_of(text).map(Some),
    }
}

/// Checks an inference's answer about one flower; returns who answered, and the label.
pub(super) fn check_answer(named: Option<Version>, body: &[u8]) -> Result<(Version, usize), Fault> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| Fault::Malformed(error.to_string()))?;
    let version = agree(named, version_of(&answer.model_version)?)?;
    let labels = answer.outputs.iter().find(|output| output.name == "label").map(|output| output.data.as_slice());
    let said = labels.and_then(|labels| <&[f64; 1]>::try_from(labels).ok()).map(|[label]| *label);
    let label = said.and_then(|said| (0..SPECIES.len()).find(|label| said == *label as f64));
    Ok((version, label.ok_or_else(|| Fault::Malformed(format!("no label of a species: {said:?}")))?))
}

/// Checks a token stream as it arrives.
#[derive(Debug)]
pub(super) struct StreamCheck {
    version: Option<Version>,
    tokens: usize,
    done: bool,
    unread: Vec<u8>,
}

impl StreamCheck {
    /// A stream whose head named this version.
    pub(super) fn new(named: Option<Version>) -> Self {
        Self { version: named, tokens: 0, done: false, unread: Vec::new() }
    }

    /// Reads the next bytes; events may lie across several calls.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.unread.drain(..end + 2).collect();
            self.event(event.trim_ascii_end())?;
        }
        if self.unread.len() > EVENT_BYTES_MAX {
            return Err(Fault::Malformed("an event without end".to_owned()));
        }
        Ok(())
    }

    /// The body has ended; returns who spoke, if the stream was whole.
    pub(super) fn end(self) -> Result<Version, Fault> {
        match self.version {
            Some(version) if self.done && self.unread.is_empty() => Ok(version),
            _ => Err(Fault::Unfinished(self.tokens)),
        }
    }

    fn event(&mut self, event: &[u8]) -> Result<(), Fault> {
        let malformed = |what: &str| Fault::Malformed(format!("{what}: {}", String::from_utf8_lossy(event)));
        let data = event.strip_prefix(b"data: ").ok_or_else(|| malformed("not a data event"))?;
        if self.done {
            return Err(malformed("an event after the last"));
        }
        if data == DONE.as_bytes() {
            self.done = true;
            return Ok(());
        }
        let token: Token = serde_json::from_slice(data).map_err(|error| malformed(&error.to_string()))?;
        if token.index != self.tokens {
            return Err(malformed("a token is missing"));
        }
        self.tokens += 1;
        self.version = Some(agree(self.version, version_of(&token.model_version)?)?);
        Ok(())
    }
}

fn agree(named: Option<Version>, answered: Version) -> Result<Version, Fault> {
    match named {
        Some(named) if named != answered => {
            Err(Fault::Mixed(format!("version {} and version {}", named.as_str(), answered.as_str())))
        }
        _ => Ok(answered),
    }
}

fn version_of(text: &str) -> Result<Version, Fault> {
    Version::parse(text).ok_or_else(|| Fault::Malformed(format!("unknown version {text:?}")))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn head(status: u16, version: Option<&str>) -> response::Parts {
        let mut answer = Response::builder().status(status);
        if let Some(version) = version {
            answer = answer.header("x-verdigris-version", version);
        }
        answer.body(()).unwrap().into_parts().0
    }

    fn answer(version: &str, labels: &str) -> String {
        format!(r#"{{"model_version":"{version}","outputs":[{{"name":"label","data":{labels}}}]}}"#)
    }

    #[test]
    fn heads_need_the_version_behind_the_proxy_only() {
        assert_eq!(check_head(&head(200, Some("2")), Path::Proxied).unwrap(), Some(Version::Two));
        assert_eq!(check_head(&head(200, None), Path::Direct).unwrap(), None);
        assert!(matches!(check_head(&head(200, None), Path::Proxied), Err(Fault::Malformed(_))));
        assert!(matches!(check_head(&head(502, Some("2")), Path::Proxied), Err(Fault::Refused { .. })));
    }

    #[test]
    fn answers_are_of_one_version_and_one_species() {
        assert_eq!(check_answer(Some(Version::One), answer("1", "[2]").as_bytes()).unwrap(), (Version::One, 2));
        let mixed = check_answer(Some(Version::Two), answer("1", "[2]").as_bytes());
        assert!(matches!(mixed, Err(Fault::Mixed(_))), "{mixed:?}");
        for labels in ["[]", "[3]", "[0.5]", "[0,1]"] {
            let bad = check_answer(None, answer("1", labels).as_bytes());
            assert!(matches!(bad, Err(Fault::Malformed(_))), "{labels}: {bad:?}");
        }
    }

    fn token(version: &str, index: usize) -> String {
        format!(
            "data: {{\"model_name\":\"iris\",\"model_version\":\"{version}\",\"index\":{index},\"text_output\":\"a\"}}\n\n"
        )
    }

    fn read(named: Option<Version>, text: &str) -> Result<Version, Fault> {
        let mut check = StreamCheck::new(named);
        // Byte by byte, the hardest way the network can cut it.
        text.as_bytes().chunks(1).try_for_each(|byte| check.feed(byte))?;
        check.end()
    }

    #[test]
    fn a_whole_stream_is_whole() {
        let whole = format!("{}{}data: [DONE]\n\n", token("1", 0), token("1", 1));
        assert_eq!(read(Some(Version::One), &whole).unwrap(), Version::One);
    }

    #[test]
    fn a_stream_that_stops_skips_or_mixes_is_not() {
        let unfinished = token("1", 0) + &token("1", 1);
        assert!(matches!(read(None, &unfinished), Err(Fault::Unfinished(2))));
        let half_done = unfinished + "data: [DONE]\n";
        assert!(matches!(read(None, &half_done), Err(Fault::Unfinished(2))));
        let gap = token("1", 0) + &token("1", 2);
        assert!(matches!(read(None, &gap), Err(Fault::Malformed(_))));
        let mixed = token("1", 0) + &token("2", 1);
        assert!(matches!(read(None, &mixed), Err(Fault::Mixed(_))));
        assert!(matches!(read(Some(Version::Two), &token("1", 0)), Err(Fault::Mixed(_))));
    }
}
