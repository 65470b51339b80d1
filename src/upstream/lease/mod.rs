//! Leases: counted rights to use a slot, held until the last byte of a body or tunnel.
//!
//! Invariants: count first, then look whether the tenure is retired; a drained tenure stays drained.
//! Never: what a request is, or which slot it should have taken.

pub mod count;
mod ledger;
mod patience;
mod tenure;
mod vigil;

pub use count::{LeaseKind, LeaseKinds};
pub use ledger::{Interrupt, Lease, Ledger, LocalTenure};
pub use patience::Patience;
pub use tenure::Tenure;
pub use vigil::Vigil;
