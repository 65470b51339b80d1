//! The generation as entity tag: `ETag` on what is read, `If-None-Match` and `If-Match` on what is asked.
//!
//! The tag stands for the published state, not for every byte of the body: counts and ages change without it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::answer::Refusal;
use crate::{
    api::{Problem, ProblemKind},
    ids::Generation,
};

/// `"7"`.
pub(super) fn tag(generation: Generation) -> HeaderValue {
    // Digits in quotes are always a header value.
    HeaderValue::try_from(format!("\"{generation}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// True if the caller has this generation already.
pub(super) fn is_known(headers: &HeaderMap, generation: Generation) -> bool {
    let tag = format!("\"{generation}\"");
    items(headers, &header::IF_NONE_MATCH).any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == tag)
}

/// The generation that the caller insists on, said in the body, in `If-Match`, or in both.
///
/// # Errors
/// `If-Match` is not one generation, or the body says another.
pub(super) fn insisted_on(headers: &HeaderMap, if_generation: Option<u64>) -> Result<Option<u64>, Refusal> {
    let mut said = None;
    for item in items(headers, &header::IF_MATCH).filter(|item| *item != "*") {
        if said.replace(number(item)?).is_some() {
            return Err(invalid("If-Match: more than one generation", "name the one you have seen"));
        }
    }
    match (said, if_generation) {
        (Some(header), Some(body)) if header != body => {
            let message = format!("If-Match says generation {header}, but if_generation says {body}");
            Err(invalid(&message, "send one of them"))
        }
        (header, body) => Ok(header.or(body)),
    }
}

/// Curl users forget the quotes.
fn number(item: &str) -> Result<u64, Refusal> {
    item.trim_matches('"').parse().map_err(|_not_a_number| {
        let shown: String = item.chars().take(80).collect();
        let message = format!("If-Match: {shown} is not a generation");
        invalid(&message, "send the ETag of the service, such as \"7\"")
    })
}

fn invalid(message: &str, hint: &str) -> Refusal {
    Problem::new(ProblemKind::Invalid, message).hint(hint).into()
}

/// The members of a field that is a list. One that is not text has none, or rather one that never fits.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_known_generation_is_recognised() {
        for known in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(is_known(&with(header::IF_NONE_MATCH, known), Generation(7)), "{known}");
        }
        for other in ["\"6\"", "\"77\"", "", "x"] {
            assert!(!is_known(&with(header::IF_NONE_MATCH, other), Generation(7)), "{other}");
        }
        assert!(!is_known(&HeaderMap::new(), Generation(7)));
        assert_eq!(tag(Generation(7)), "\"7\"");
    }

    #[test]
    fn header_and_body_may_say_the_generation_but_not_differ() {
        let says = |header: &str, body| insisted_on(&with(header::IF_MATCH, header), body);
        assert_eq!(says("\"7\"", None).unwrap(), Some(7));
        assert_eq!(says("7", Some(7)).unwrap(), Some(7));
        assert_eq!(says("*", Some(7)).unwrap(), Some(7));
        assert_eq!(insisted_on(&HeaderMap::new(), Some(7)).unwrap(), Some(7));
        assert_eq!(insisted_on(&HeaderMap::new(), None).unwrap(), None);
        for (header, body) in [("\"7\"", Some(8)), ("\"7\", \"8\"", None), ("W/\"7\"", None), ("abc", None)] {
            assert_eq!(says(header, body).unwrap_err().0.error, ProblemKind::Invalid, "{header}");
        }
    }
}
