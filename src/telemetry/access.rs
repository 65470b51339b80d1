//! The access log: one JSON line a request, written by a thread of its own.
//!
//! A worker formats a record into a buffer and offers the buffer to a bounded queue; when the queue is full the
//! records are dropped and counted. Logging never delays a request.

use std::{
    cell::RefCell,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, SystemTime},
};

use super::FailureKind;

/// What one record says.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    pub client: std::net::IpAddr,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub request_id: &'a str,
    pub service: &'a str,
    pub slot: &'a str,
    pub version: &'a str,
    pub duration: Duration,
    pub replays: u32,
    pub failure: Option<FailureKind>,
}

/// The writing end: a thread that owns the file.
#[derive(Debug)]
pub struct AccessLog {
    queue: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

/// Buffers of text that may wait for the writer; 1,024 of at most 8 KiB.
const QUEUE_BUFFERS: usize = 1024;
const BUFFER_BYTES: usize = 8 * 1024;

impl AccessLog {
    /// Starts the writer; `None` writes to standard output.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be had.
    pub fn start(path: Option<&Path>) -> std::io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE_BUFFERS);
        let target: Box<dyn std::io::Write + Send> = match path {
            None => Box::new(std::io::stdout()),
            Some(path) => Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?),
        };
        let place = path.map(PathBuf::from);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(&records, target, place.as_deref()))?;
        Ok(Self { queue, dropped: Arc::new(AtomicU64::new(0)) })
    }

    /// A sink for one worker.
    pub fn sink(&self) -> AccessSink {
        AccessSink {
            queue: self.queue.clone(),
            dropped: self.dropped.clone(),
            buffer: RefCell::new(Buffer { text: String::with_capacity(BUFFER_BYTES), records: 0 }),
        }
    }

    /// Records that were dropped because the writer could not keep up; shared with the metrics page.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }
}

fn write_all(records: &Receiver<String>, mut target: Box<dyn std::io::Write + Send>, place: Option<&Path>) {
    let mut failing = false;
    for text in records {
        match target.write_all(text.as_bytes()).and_then(|()| target.flush()) {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, file = ?place, "Access records cannot be written; they are lost until this is mended.");
            }
            Err(_) => {}
        }
    }
}

#[derive(Debug)]
struct Buffer {
    text: String,
    records: u64,
}

/// A worker's end of the access log. Flushed by the worker's tick and when full.
#[derive(Debug)]
pub struct AccessSink {
    queue: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    buffer: RefCell<Buffer>,
}

impl AccessSink {
    /// Takes down one record.
    pub fn record(&self, record: &AccessRecord<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        format_record(&mut buffer.text, record, SystemTime::now());
        buffer.records += 1;
        if buffer.text.len() >= BUFFER_BYTES - 1024 {
            self.send(&mut buffer);
        }
    }

    /// Hands what is buffered to the writer.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.records > 0 {
            self.send(&mut buffer);
        }
    }

    fn send(&self, buffer: &mut Buffer) {
        let text = std::mem::replace(&mut buffer.text, String::with_capacity(BUFFER_BYTES));
        let records = std::mem::take(&mut buffer.records);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(text) {
            self.dropped.fetch_add(records, Relaxed);
        }
    }
}

impl Drop for AccessSink {
    fn drop(&mut self) {
        self.flush();
    }
}

fn format_record(text: &mut String, record: &AccessRecord<'_>, now: SystemTime) {
    // Writing to a String cannot fail.
    let _ =
        write!(text, r#"{{"at":"{}","client":"{}","method":"#, humantime::format_rfc3339_millis(now), record.client);
    quote(text, record.method);
    text.push_str(r#","path":"#);
    quote(text, record.path);
    let _ = write!(text, r#","status":{},"duration_us":{},"request_id":"#, record.status, record.duration.as_micros());
    quote(text, record.request_id);
    for (key, value) in [("service", record.service), ("slot", record.slot), ("version", record.version)] {
        if !value.is_empty() {
            let _ = write!(text, r#","{key}":"#);
            quote(text, value);
        }
    }
    if record.replays > 0 {
        let _ = write!(text, r#","replays":{}"#, record.replays);
    }
    if let Some(kind) = record.failure {
        let _ = write!(text, r#","error":"{kind}""#);
    }
    text.push_str("}\n");
}

/// Appends a JSON string.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str) -> AccessRecord<'_> {
        AccessRecord {
            client: std::net::IpAddr::from([127, 0, 0, 1]),
            method: "POST",
            path,
            status: 200,
            request_id: "r1",
            service: "iris",
            slot: "blue",
            version: "",
            duration: Duration::from_micros(1500),
            replays: 1,
            failure: Some(FailureKind::UpstreamCut),
        }
    }

    #[test]
    fn a_record_is_one_json_line_whatever_the_path_holds() {
        let mut text = String::new();
        format_record(&mut text, &record("/a\"b\\c\u{1}"), SystemTime::UNIX_EPOCH);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], "/a\"b\\c\u{1}");
        assert_eq!(value["duration_us"], 1500);
        assert_eq!(value["error"], "upstream_cut");
        assert!(value.get("version").is_none());
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (queue, _records) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let buffer = RefCell::new(Buffer { text: String::new(), records: 0 });
        let sink = AccessSink { queue, dropped: dropped.clone(), buffer };
        for _ in 0..3 {
            sink.record(&record("/"));
            sink.flush();
        }
        assert_eq!(dropped.load(Relaxed), 2);
    }
}
