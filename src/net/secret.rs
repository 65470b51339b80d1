//! Bearer tokens: the admin API's, and those that let callers preview a slot.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use http::HeaderValue;
use subtle::ConstantTimeEq;

/// A bearer token. It is never printed: `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why a file has no usable token in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the token file {} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the token file {} is empty; write one line with the token into it", path.display())]
    Empty { path: PathBuf },
    #[error(
        "the token file {} holds only {bytes} bytes, which can be guessed; a token has {TOKEN_BYTES_MIN} at least: make \
         one with `openssl rand -hex 32`",
        path.display()
    )]
    Short { path: PathBuf, bytes: usize },
    #[error(
        "the token file {} does not hold one line of at most {TOKEN_BYTES_MAX} printable ASCII characters without spaces",
        path.display()
    )]
    Malformed { path: PathBuf },
}

impl Secret {
    /// Reads a token file: one line; white space around it does not count. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or holds a token that is too short or what cannot stand in a header field.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(2 * TOKEN_BYTES_MAX as u64).read_to_string(&mut text));
        read.map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
        let token = text.trim();
        if token.is_empty() {
            return Err(SecretError::Empty { path: path.to_owned() });
        }
        if token.len() < TOKEN_BYTES_MIN {
            return Err(SecretError::Short { path: path.to_owned(), bytes: token.len() });
        }
        Self::new(token).ok_or_else(|| SecretError::Malformed { path: path.to_owned() })
    }

    /// The token, if it can stand in a header field.
    pub fn new(token: &str) -> Option<Self> {
        let fits = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(token.into()))
    }

    /// Compares in a time that depends on the lengths alone.
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    /// The `authorization` field of a caller that knows the token; marked as sensitive.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Secret, SecretError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Secret::read(file.path())
    }

    #[test]
    fn a_token_is_one_line() {
        assert!(read(b"s3cret-of-16-byt\n").unwrap().is(b"s3cret-of-16-byt"));
        assert!(!read(b"s3cret-of-16-byt\n").unwrap().is(b"s3cret-of-16-byt2"));
        assert!(matches!(read(b" \n"), Err(SecretError::Empty { .. })));
        assert!(matches!(read(b" s3cret-of-15-by\n"), Err(SecretError::Short { bytes: 15, .. })));
        for odd in [
            b"two words, too long".as_slice(),
            b"two lines,\nof a file",
            "s3cret-of-16-b\u{e4}".as_bytes(),
            &[b'x'; 4097],
        ] {
            assert!(matches!(read(odd), Err(SecretError::Malformed { .. })), "{odd:?}");
        }
        assert!(matches!(read(b"\xff"), Err(SecretError::Unreadable { .. })));
        assert!(matches!(Secret::read(Path::new("/nonexistent/token")), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn a_token_is_never_printed() {
        let secret = read(b"s3cret-of-16-byt").unwrap();
        assert!(!format!("{secret:?} {:?}", secret.authorization()).contains("s3cret"));
    }
}
