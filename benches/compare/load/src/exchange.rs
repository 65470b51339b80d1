//! One HTTP/1.1 exchange on a connection, read to its very end.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What came back.
pub struct Answer {
    pub status: u16,
    /// The connection can take another request.
    pub stays_open: bool,
    /// Events of an event stream.
    pub events: u64,
}

struct Head {
    bytes: usize,
    answer: Answer,
    length: Option<usize>,
    chunked: bool,
}

/// Sends a request and reads its answer. `buffer` is overwritten.
pub async fn exchange<S>(stream: &mut S, request: &[u8], buffer: &mut Vec<u8>) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await.context("the request could not be written")?;
    buffer.clear();
    let head = loop {
        if let Some(head) = parse(buffer)? {
            break head;
        }
        if stream.read_buf(buffer).await.context("no answer")? == 0 {
            bail!("closed before the answer's head had ended");
        }
    };
    let mut answer = head.answer;
    let mut body = buffer.split_off(head.bytes);
    loop {
        let ended = match head.length {
            Some(length) => body.len() >= length,
            None => head.chunked && body.ends_with(b"0\r\n\r\n"),
        };
        // An event stream is long; what has been counted is not kept but for the bytes that tell its end.
        answer.events += count_events(&mut body, head.chunked);
        if ended {
            return Ok(answer);
        }
        if stream.read_buf(&mut body).await.context("the answer broke off")? == 0 {
            if head.length.is_none() && !head.chunked {
                answer.stays_open = false;
                return Ok(answer);
            }
            bail!("closed within the answer");
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).context("not an HTTP answer")? else { return Ok(None) };
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| String::from_utf8_lossy(field.value).to_ascii_lowercase())
    };
    let answer = Answer {
        status: head.code.unwrap_or(0),
        stays_open: !field("connection").is_some_and(|words| words.contains("close")),
        events: 0,
    };
    let chunked = field("transfer-encoding").is_some_and(|words| words.contains("chunked"));
    let content = field("content-length").and_then(|text| text.parse().ok());
    Ok(Some(Head { bytes: length, answer, length: content, chunked }))
}

/// Counts the ends of events, and forgets what was counted.
fn count_events(body: &mut Vec<u8>, chunked: bool) -> u64 {
    if !chunked {
        return 0;
    }
    let ends = body.windows(2).filter(|two| two == b"\n\n").count() as u64;
    if let Some(last) = body.windows(2).rposition(|two| two == b"\n\n") {
        body.drain(..last + 2);
    }
    ends
}
