//! The first line of a file, if it is about the whole file: `{"golden": 1, "need": "18 of 20"}`.

use std::time::Duration;

use super::{
    reader::{Node, Reader},
    verdict::Need,
};

/// What holds for all requests of a file.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) need: Need,
    /// The M of "N of M": how many requests the author counted.
    pub(super) counted: Option<usize>,
    /// Until the last byte of an answer.
    pub(super) timeout: Duration,
    /// A longer answer is given up and fails.
    pub(super) answer_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { need: Need::All, counted: None, timeout: Duration::from_secs(30), answer_bytes_max: 16 << 20 }
    }
}

impl Settings {
    /// Reads the line; wrong values are noted.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Self {
        let mut settings = Self::default();
        let Some(fields) = reader.object(node, &["golden", "need", "timeout", "answer_max"]) else { return settings };
        for field in fields.iter() {
            let value = &field.value;
            match field.key.as_ref() {
                "golden" if value.raw == "1" => {}
                "golden" => {
                    reader.refuse(value, format!("version {} of golden files is not known", value.raw), "write 1")
                }
                "need" => settings.read_need(reader, value),
                "timeout" => settings.timeout = timeout(reader, value).unwrap_or(settings.timeout),
                "answer_max" => settings.read_answer_max(reader, value),
                _ => {}
            }
        }
        settings
    }

    /// `"all"`, `"18 of 20"` or `"90 %"`.
    fn read_need<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        let Some(text) = reader.string(node) else { return };
        if text == "all" {
            return;
        }
        let share = text.strip_suffix('%').and_then(|share| share.trim().parse::<f64>().ok());
        let counts = text.split_once(" of ").and_then(|(n, m)| Some((n.trim().parse().ok()?, m.trim().parse().ok()?)));
        match (counts, share) {
            (Some((least, total)), _) if (1..=total).contains(&least) => {
                (self.need, self.counted) = (Need::AtLeast(least), Some(total));
            }
            (None, Some(share)) if share > 0.0 && share <= 100.0 => self.need = Need::Share(share),
            _ => reader.refuse(node, format!("{text:?} is no need"), "write \"all\", \"18 of 20\" or \"90 %\""),
        }
    }

    fn read_answer_max<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        match reader.size(node) {
            Some(size) if (1..=ANSWER_BYTES_MAX).contains(&size) => self.answer_bytes_max = size,
            Some(_) => reader.refuse(node, "out of range", "write 1 byte to 256 MiB"),
            None => {}
        }
    }
}

/// Of a file, or of one request.
pub(super) fn timeout<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Duration> {
    let timeout = reader.duration(node)?;
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        reader.refuse(node, "out of range", "write at least \"1ms\" and at most \"1h\"");
        return None;
    }
    Some(timeout)
}

/// Reading an answer takes several times its size in memory.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
