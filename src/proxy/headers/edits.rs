//! What the operator changes in the fields of a message: first remove, then set, then add.
//!
//! Fields that frame a message or belong to one connection cannot be named in the file, so nothing has to be checked here.

use http::HeaderMap;

use super::Seen;
use crate::config::settings::HeaderEdits;

/// Makes the edits. Costs nothing where there are none.
pub(in crate::proxy) fn edit(fields: &mut HeaderMap, edits: &HeaderEdits) {
    if edits.is_empty() {
        return;
    }
    for name in &edits.remove {
        fields.remove(name);
    }
    for (name, value) in &edits.set {
        fields.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        fields.append(name, value.clone());
    }
}

/// Makes the edits in an answer; says what it has then.
pub(in crate::proxy) fn edit_answer(fields: &mut HeaderMap, seen: Seen, edits: &HeaderEdits) -> Seen {
    if edits.is_empty() {
        return seen;
    }
    edit(fields, edits);
    Seen::of(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn edits_are_made_in_their_order() {
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let edits = HeaderEdits {
            remove: vec![HeaderName::from_static("a"), HeaderName::from_static("b")],
            set: vec![field("b", "set"), field("c", "set")],
            add: vec![field("b", "added"), field("d", "added")],
        };
        let mut fields = HeaderMap::new();
        for (name, value) in [("a", "1"), ("b", "1"), ("c", "1"), ("c", "2"), ("d", "1"), ("e", "1")] {
            fields.append(name, HeaderValue::from_static(value));
        }
        edit(&mut fields, &edits);
        let all = |name: &str| fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(all),
            [vec![], vec!["set", "added"], vec!["set"], vec!["1", "added"], vec!["1"]]
        );
    }
}
