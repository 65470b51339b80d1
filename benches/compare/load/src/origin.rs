//! A stand-in for a model server: small answers at once, and streams of tokens at a steady pace.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::options::Options;

const SMALL: &str = r#"{"model_name":"iris","outputs":[{"name":"predict","shape":[1],"datatype":"INT64","data":[2]}]}"#;
const BACKLOG: u32 = 4096;

/// Serves until standard input ends.
pub async fn serve(options: &Options) -> Result<()> {
    for address in &options.addresses {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(*address).with_context(|| format!("{address} cannot be bound"))?;
        let listener = socket.listen(BACKLOG)?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away is none of the origin's business.
                tokio::spawn(async move { drop(answer_all(stream).await) });
            }
        });
    }
    println!("ready");
    wait_for_end().await
}

/// Returns when standard input has ended: whoever started this is done, or gone.
pub async fn wait_for_end() -> Result<()> {
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    // The blocking read of standard input would otherwise be waited for.
    std::process::exit(0);
}

struct Request {
    path: String,
    head: String,
    bytes: usize,
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let small = answer("application/json", SMALL);
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let Some(request) = read(&mut stream, &mut buffer).await? else { return Ok(()) };
        buffer.drain(..request.bytes);
        if request.path.contains("/stream?") {
            send_tokens(&mut stream, number(&request.path, "tokens", 100), number(&request.path, "every_ms", 20))
                .await?;
        } else if request.path.ends_with("/head") {
            stream.write_all(answer("text/plain", &request.head).as_bytes()).await?;
        } else {
            stream.write_all(small.as_bytes()).await?;
        }
    }
}

fn answer(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A whole request, head and body; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Request>> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut fields);
        if let httparse::Status::Complete(length) = head.parse(buffer)? {
            let content = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
            let content: usize = content.and_then(|field| str::from_utf8(field.value).ok()?.parse().ok()).unwrap_or(0);
            let path = head.path.unwrap_or("/").to_owned();
            let head =
                if path.ends_with("/head") { String::from_utf8_lossy(&buffer[..length]).into() } else { String::new() };
            while buffer.len() < length + content {
                if stream.read_buf(buffer).await? == 0 {
                    return Ok(None);
                }
            }
            return Ok(Some(Request { path, head, bytes: length + content }));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn send_tokens(stream: &mut TcpStream, tokens: u64, every_ms: u64) -> Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await?;
    let mut due = tokio::time::Instant::now();
    for index in 0..tokens {
        let event = format!("data: {{\"token\":\"word\",\"index\":{index}}}\n\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        due += Duration::from_millis(every_ms);
        tokio::time::sleep_until(due).await;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(())
}

fn number(path: &str, key: &str, default: u64) -> u64 {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
    value.and_then(|(_, text)| text.parse().ok()).unwrap_or(default)
}

/// Opens a connection as the clients do.
pub async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("{address} takes no connection"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
