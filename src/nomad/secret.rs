//! Text that must not be printed.

use std::fmt;

/// The kind of a token, which determines the requests that can explain a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An ACL token: a UUID.
    Acl,
    /// A workload identity: a JWT.
    Identity,
    /// Neither; Nomad issues no such tokens.
    Other,
}

/// A token or a password; its Debug output is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The kind of token, judged by its form.
    pub(super) fn kind(&self) -> TokenKind {
        let is_uuid = self.0.len() == 36
            && self.0.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        match () {
            () if is_uuid => TokenKind::Acl,
            () if self.0.starts_with("ey") && self.0.split('.').count() == 3 => TokenKind::Identity,
            () => TokenKind::Other,
        }
    }

    /// The text, for the request that carries it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_uuid_or_a_jwt() {
        let kind = |text: &str| Secret::new(text).kind();
        assert_eq!(kind("3c1f0b52-4d55-4f29-8ad2-6f6f5e8f0f11"), TokenKind::Acl);
        assert_eq!(kind("3c1f0b52-4d55-4f29-8ad2-6f6f5e8f0f1"), TokenKind::Other);
        assert_eq!(kind("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"), TokenKind::Identity);
        assert_eq!(kind("garbage"), TokenKind::Other);
    }
}
