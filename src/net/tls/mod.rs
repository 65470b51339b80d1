//! TLS towards clients: certificates from files, chosen by name, renewed while connections stay open.
//!
//! Flow: `load` reads files and tells what is wrong with them → `certificates` chooses among several by the name that a
//! client asks for → `server` makes a whole rustls configuration of it and keeps the one in force → each accepted
//! connection takes that one; what is open keeps its own. `listeners` holds the process's listeners together.
//!
//! Invariants: a pair whose key does not belong to its certificate never serves; files that cannot be used leave the
//! old ones in force; the provider is passed explicitly, so that no other crate can choose it.
//! Never: HTTP, sockets, which listener needs a restart.

mod certificates;
mod client;
mod facts;
mod listeners;
mod load;
mod server;

#[cfg(test)]
mod tests;

pub use client::{client_config, system_roots};
pub use facts::{Facts, facts};
pub use listeners::{PreparedListeners, TlsListeners};
pub use load::{TlsFileError, key_pair, roots};
pub use server::{Alpn, Certificate, Prepared, ServerTls, TlsProblem};

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The one source of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}
