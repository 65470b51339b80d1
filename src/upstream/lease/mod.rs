//! Leases: counted rights to use a slot, held until the last byte of the body or tunnel.
//!
//! Invariants: a count belongs to one generation of a slot, so blue → green → blue never mixes two of them; a count
//! that was seen drained is drained for good. Never: what a lease is used for, waiting.

mod count;

pub use count::{LeaseCount, LeaseKind, LeaseKinds};
