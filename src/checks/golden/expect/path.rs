//! A place in a JSON document: JSONPath (RFC 9535).
//!
//! Not a JSON pointer: the order of outputs is the server's choice, and only a path can name one by its content, as
//! `$.outputs[?@.name=="scores"].data[0]` does.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::{Node, Reader};

#[derive(Clone, Debug)]
pub(super) struct Path(JsonPath);

/// A value that a path leads to, and the way to it.
pub(super) type Located<'v> = (String, &'v Value);

impl Path {
    /// Reads a path; `place` is where it is written.
    pub(super) fn parse<'t>(reader: &mut Reader<'t>, place: &Node<'t>, text: &str) -> Option<Self> {
        if text.len() > PATH_BYTES_MAX {
            reader.refuse(place, format!("a path of {} bytes", text.len()), format!("write at most {PATH_BYTES_MAX}"));
            return None;
        }
        let hint = "write a JSONPath (RFC 9535), such as $.outputs[0].data[0]";
        let parsed = JsonPath::parse(text).map_err(|error| format!("{text:?} is not a JSONPath: {error}"));
        reader.accept(place, parsed, hint).map(Self)
    }

    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let text = reader.string(node)?;
        Self::parse(reader, node, &text)
    }

    /// All values that it leads to.
    ///
    /// # Errors
    /// They are too many: the ways to them would take more memory than the answer.
    pub(super) fn find<'v>(&self, document: &'v Value) -> Result<Vec<Located<'v>>, String> {
        let count = self.0.query(document).len();
        if count > VALUES_MAX {
            return Err(format!("{count} values at {self}; at most {VALUES_MAX} are looked at"));
        }
        let found = self.0.query_located(document);
        Ok(found.iter().map(|located| (located.location().to_string(), located.node())).collect())
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

const PATH_BYTES_MAX: usize = 512;
const VALUES_MAX: usize = 100_000;
