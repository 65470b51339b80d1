//! The members of a JSON object in the order of the text, each with its place.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::reader::Node;

/// One member.
#[derive(Clone, Debug)]
pub(super) struct Field<'t> {
    pub(super) key: Cow<'t, str>,
    pub(super) value: Node<'t>,
}

/// All members of one object.
#[derive(Clone, Debug)]
pub(super) struct Fields<'t>(Vec<Field<'t>>);

impl<'t> Fields<'t> {
    /// `None` if the value is no object.
    pub(super) fn of(node: &Node<'t>) -> Option<Self> {
        let members = serde_json::Deserializer::from_str(node.raw).deserialize_map(Members).ok()?;
        let field = |(key, raw): (Cow<'t, str>, &'t RawValue)| {
            let path = node.child(&key);
            Field { key, value: Node { raw: raw.get(), path } }
        };
        Some(Self(members.into_iter().map(field).collect()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field<'t>> {
        self.0.iter()
    }

    pub(super) fn find(&self, key: &str) -> Option<&Node<'t>> {
        self.0.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// Members whose key stood before.
    pub(super) fn repeated(&self) -> Vec<Field<'t>> {
        let mut seen = HashSet::new();
        self.0.iter().filter(|field| !seen.insert(field.key.as_ref())).cloned().collect()
    }
}

impl<'t> Field<'t> {
    /// The key where it stands in the line; `None` if it is written with escapes.
    pub(super) fn written_key(&self) -> Option<&'t str> {
        match self.key {
            Cow::Borrowed(key) => Some(key),
            Cow::Owned(_) => None,
        }
    }
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = Vec<(Cow<'t, str>, &'t RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            members.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

/// A key that is borrowed where the text has no escapes.
struct Key;

impl<'t> DeserializeSeed<'t> for Key {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Key {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'t str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
