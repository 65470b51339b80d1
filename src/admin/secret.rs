//! The bearer token of the admin API.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq as _;

/// A token. It is never shown, not even by `Debug`.
#[derive(Clone)]
pub struct Secret(String);

/// A token file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("admin.token_file {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("admin.token_file {}: the token must be 16 to 512 printable ASCII characters on one line", path.display())]
    Unusable { path: PathBuf },
}

impl Secret {
    /// Reads a token; white space around it does not count.
    ///
    /// # Errors
    /// The file cannot be read, or holds no usable token.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
        let token = text.trim();
        if !(16..=512).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::Unusable { path: path.to_owned() });
        }
        Ok(Self(token.to_owned()))
    }

    /// Compares in constant time.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let secret = Secret::read(&path).unwrap();
        assert!(secret.is("0123456789abcdef"));
        assert!(!secret.is("0123456789abcdeF") && !secret.is("") && !secret.is("0123456789abcdef0"));
        assert!(!format!("{secret:?}").contains("0123"));
        std::fs::write(&path, "short").unwrap();
        assert!(Secret::read(&path).unwrap_err().to_string().contains("16 to 512"));
    }
}
