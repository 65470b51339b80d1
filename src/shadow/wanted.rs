//! Which requests are to be copied.

use http::{HeaderName, HeaderValue, Method, request::Parts};

/// All of it must hold; what is left out holds for every request.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What the client's path begins with, query left out.
    pub path_prefix: Option<String>,
    pub method: Option<Method>,
    /// One of the field's lines has this value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Of those, every so many-th; 0 is 1.
    pub every: u64,
}

impl Wanted {
    /// Says so of a request as the client sent it.
    pub(super) fn takes(&self, head: &Parts) -> bool {
        let has = |(name, value): &(HeaderName, HeaderValue)| head.headers.get_all(name).iter().any(|one| one == value);
        self.method.as_ref().is_none_or(|method| *method == head.method)
            && self.path_prefix.as_ref().is_none_or(|prefix| head.uri.path().starts_with(prefix))
            && self.headers.iter().all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: one part of the filter is not looked at.
    #[test]
    fn every_part_must_hold() {
        let request = |method: &str, path: &str, team: &str| {
            let builder = http::Request::builder().method(method).uri(path).header("x-team", "z");
            builder.header("x-team", team).body(()).unwrap().into_parts().0
        };
        let wanted = Wanted {
            path_prefix: Some("/v2/models/iris".to_owned()),
            method: Some(Method::POST),
            headers: vec![(HeaderName::from_static("x-team"), HeaderValue::from_static("a"))],
            every: 1,
        };
        for (method, path, team, taken) in [
            ("POST", "/v2/models/iris/infer?x=1", "a", true),
            ("GET", "/v2/models/iris/infer", "a", false),
            ("POST", "/v2/models/rose?/v2/models/iris", "a", false),
            ("POST", "/v2/models/iris/infer", "b", false),
        ] {
            assert_eq!(wanted.takes(&request(method, path, team)), taken, "{method} {path} {team}");
            assert!(Wanted::default().takes(&request(method, path, team)));
        }
    }
}
