//! PEM files: read, understood, and what is wrong with them in words that say what to do.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    InconsistentKeys, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

use super::provider;
use crate::config::settings::KeyPairFiles;

/// A file of certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    #[error("cannot read {}: {source}; check the path, and that the user that runs verdigris may read it", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} has no certificate in it; it must hold PEM, beginning with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} has no private key in it; it must hold PEM, such as -----BEGIN PRIVATE KEY-----", path.display())]
    NoKey { path: PathBuf },
    #[error(
        "the private key in {} is encrypted, and nobody is there to type its password; decrypt it with \
         `openssl pkey -in FILE -out PLAIN` and keep that file readable for verdigris alone",
        path.display()
    )]
    EncryptedKey { path: PathBuf },
    #[error("{} is not PEM to its end: {cause}; it may have been written half, put it there again", path.display())]
    NotPem { path: PathBuf, cause: pem::Error },
    #[error(
        "the key in {} does not belong to the first certificate in {}; put the pair there that was issued together, \
         and the server's own certificate before its intermediates",
        key.display(),
        cert.display()
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in {} or the key in {} cannot be used: {cause}", cert.display(), key.display())]
    Unusable { cert: PathBuf, key: PathBuf, cause: rustls::Error },
    #[error("no certificate in {} can sign others: {cause}; name the file of the certificate authority", path.display())]
    NoRoot { path: PathBuf, cause: String },
}

impl TlsFileError {
    /// True if it is the key's file that has to be looked at.
    pub fn is_about_the_key(&self, files: &KeyPairFiles) -> bool {
        match self {
            Self::Unreadable { path, .. } | Self::NotPem { path, .. } => *path == files.key && files.key != files.cert,
            Self::NoKey { .. } | Self::EncryptedKey { .. } | Self::Mismatch { .. } => true,
            Self::NoCertificate { .. } | Self::Unusable { .. } | Self::NoRoot { .. } => false,
        }
    }
}

/// Reads a chain and its key, and makes sure that they belong together. Blocks on the disk.
///
/// # Errors
/// A file cannot be read, holds something else, or holds half of another pair.
pub fn key_pair(files: &KeyPairFiles) -> Result<Arc<CertifiedKey>, TlsFileError> {
    let chain = certificates(&files.cert)?;
    let key = private_key(&files.key)?;
    let pair = CertifiedKey::from_der(chain, key, &provider());
    pair.map(Arc::new).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsFileError::Mismatch { cert: files.cert.clone(), key: files.key.clone() }
        }
        cause => TlsFileError::Unusable { cert: files.cert.clone(), key: files.key.clone(), cause },
    })
}

/// Reads the certificates of those who sign others. Blocks on the disk.
///
/// # Errors
/// The file cannot be read, or none of what is in it can sign.
pub fn roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    let mut cause = String::new();
    for certificate in certificates(path)? {
        if let Err(error) = roots.add(certificate) {
            cause = error.to_string();
        }
    }
    if roots.is_empty() { Err(TlsFileError::NoRoot { path: path.to_owned(), cause }) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|cause| TlsFileError::NotPem { path: path.to_owned(), cause })?;
    if chain.is_empty() { Err(TlsFileError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|cause| match cause {
        // Both ways to write an encrypted key: PKCS #8, and the older one with a header field.
        pem::Error::NoItemsFound if has(&text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            TlsFileError::EncryptedKey { path: path.to_owned() }
        }
        _ if has(&text, b"Proc-Type: 4,ENCRYPTED") => TlsFileError::EncryptedKey { path: path.to_owned() },
        pem::Error::NoItemsFound => TlsFileError::NoKey { path: path.to_owned() },
        cause => TlsFileError::NotPem { path: path.to_owned(), cause },
    })
}

/// The bytes of a file that is read again and again: a pipe would block for ever, a huge one is a slip.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |source| TlsFileError::Unreadable { path: path.to_owned(), source };
    let read = || {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(unreadable)
}

fn has(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

const FILE_BYTES_MAX: u64 = 4 << 20;
