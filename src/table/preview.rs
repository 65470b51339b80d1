//! Who may choose a slot of a service: `[service.preview]` with its token.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::Secret;

/// Who may choose a slot. A listed network and the token each suffice.
#[derive(Debug, PartialEq, Eq)]
pub struct Preview {
    allow: Vec<IpNet>,
    token: Option<Secret>,
}

impl Preview {
    pub fn new(allow: Vec<IpNet>, token: Option<Secret>) -> Self {
        Self { allow, token }
    }

    /// True if clients of this address need no token.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&client))
    }

    /// True if there is a token to be shown.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// True if this is the token. Compares in a time that depends on the lengths alone.
    pub fn is_token(&self, given: &[u8]) -> bool {
        self.token.as_ref().is_some_and(|token| token.is(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: `allows` or `is_token` takes what is not listed.
    #[test]
    fn either_suffices_and_nothing_else_does() {
        let token = Secret::new("s3cret-of-16-byt");
        let both = Preview::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], token);
        for (client, allowed) in
            [("10.1.2.3", true), ("fd00::1", true), ("11.0.0.1", false), ("::1", false), ("127.0.0.1", false)]
        {
            assert_eq!(both.allows(client.parse().unwrap()), allowed, "{client}");
        }
        assert!(both.is_token(b"s3cret-of-16-byt") && !both.is_token(b"s3cret-of-16-bytX") && !both.is_token(b""));
        let nobody = Preview::new(Vec::new(), None);
        assert!(!nobody.allows(IpAddr::from([127, 0, 0, 1])) && !nobody.is_token(b"") && !nobody.has_token());
        assert!(!format!("{both:?}").contains("s3cret"));
    }
}
