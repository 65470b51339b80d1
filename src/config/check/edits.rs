//! `[service.request]` and `[service.answer]`: what is changed in a message on its way.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, header, uri::Authority};
use toml::Spanned;

use super::Check;
use crate::config::{
    schema::{self, Given, Quantity},
    settings::{HeaderEdits, RequestRules},
};

type Written = BTreeMap<Spanned<String>, Spanned<String>>;

impl Check<'_> {
    pub(super) fn request_rules(&mut self, given: &schema::RequestRules) -> RequestRules {
        RequestRules {
            host: given.host.as_ref().and_then(|host| self.sent_host(host)),
            strip_prefix: given.strip_prefix.as_ref().and_then(|prefix| self.path_prefix(prefix)),
            body_max: self.body_max(&given.body_max),
            headers: self.edits(&given.remove, &given.set, &given.add),
        }
    }

    fn sent_host(&mut self, given: &Spanned<String>) -> Option<HeaderValue> {
        let text = given.get_ref();
        let plain = text.parse::<Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
        let value = HeaderValue::from_str(text).ok().filter(|_| plain);
        if value.is_none() {
            let hint = "write such as \"model.internal\" or \"model.internal:8000\"";
            self.refuse(given.span(), format!("{text:?} is not a host"), hint);
        }
        value
    }

    fn body_max(&mut self, given: &Given<Quantity>) -> Option<u64> {
        match given.as_ref().map(Spanned::get_ref) {
            None => None,
            Some(Quantity::Text(text)) if text == "off" => None,
            Some(_) => u64::try_from(self.size(given, 0..=1 << 50, 0)).ok(),
        }
    }

    pub(super) fn edits(&mut self, remove: &[Spanned<String>], set: &Written, add: &Written) -> HeaderEdits {
        let remove = remove.iter().filter_map(|name| self.edited_name(name)).collect();
        HeaderEdits { remove, set: self.fields(set), add: self.fields(add) }
    }

    fn fields(&mut self, written: &Written) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = Vec::new();
        for (name, value) in written {
            let Some(name) = self.edited_name(name) else { continue };
            match HeaderValue::from_str(value.get_ref()) {
                Ok(value) => fields.push((name, value)),
                Err(_invalid) => {
                    self.refuse(value.span(), "no message can carry this value", "write plain text in one line");
                }
            }
        }
        fields
    }

    /// A field that frames a message or belongs to one connection is the proxy's own business.
    fn edited_name(&mut self, given: &Spanned<String>) -> Option<HeaderName> {
        let text = given.get_ref();
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            self.refuse(given.span(), format!("{text:?} is not a header name"), "write such as \"x-tenant\"");
            return None;
        };
        let untouchable = [
            header::CONNECTION,
            header::CONTENT_LENGTH,
            header::HOST,
            header::TE,
            header::TRAILER,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
        ];
        if untouchable.contains(&name) || name == "keep-alive" || name == "proxy-connection" {
            let hint = if name == header::HOST { "write `host` in [service.request]" } else { "leave it out" };
            self.refuse(given.span(), format!("{text:?} is not for editing: it frames the message"), hint);
            return None;
        }
        Some(name)
    }
}
