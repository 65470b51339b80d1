//! One line of the journal.

use crate::{
    api::HistoryEntry,
    store::{
        StoreError,
        seal::{seal, unseal},
    },
};

/// What a line turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Entry(Box<HistoryEntry>),
    /// As it was written, but not in words that this version knows: a newer one has been here.
    Foreign,
    /// Not as it was written.
    Rotten,
}

/// The lines of `entries`, each with its newline.
pub(super) fn encode(entries: &[HistoryEntry]) -> Result<String, StoreError> {
    entries.iter().map(encode_one).collect()
}

fn encode_one(entry: &HistoryEntry) -> Result<String, StoreError> {
    let payload =
        serde_json::to_string(entry).map_err(|source| StoreError::Encode { what: "a journal entry", source })?;
    Ok(seal("entry", &payload))
}

/// Reads a line, without or with its newline.
pub(super) fn decode(line: &[u8]) -> Line {
    match unseal(line).map(serde_json::from_str) {
        Some(Ok(entry)) => Line::Entry(Box::new(entry)),
        Some(Err(_)) => Line::Foreign,
        None => Line::Rotten,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::switched;

    #[test]
    fn a_line_is_an_entry_or_foreign_or_rotten() {
        let entry = switched("iris", 7);
        let text = encode(std::slice::from_ref(&entry)).unwrap();
        assert!(text.starts_with("{\"crc\":\"") && text.ends_with("}}\n"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(decode(text.as_bytes()), Line::Entry(Box::new(entry)));
        assert_eq!(decode(seal("entry", r#"{"action":"teleport"}"#).as_bytes()), Line::Foreign);
        assert_eq!(decode(text.replace("iris", "rose").as_bytes()), Line::Rotten);
        assert_eq!(decode(b""), Line::Rotten);
    }
}
