//! Models of the lease/drain pair: requesters take leases while the controller publishes the next generation, retires
//! the old one and, once that is drained, deletes its model server. Loom runs each model in every interleaving, with
//! every value a load may return, and fails if a use and the deletion are not strictly ordered.

#[cfg(not(loom))]
compile_error!("these models need RUSTFLAGS=\"--cfg loom\"; see Cargo.toml");

#[cfg(loom)]
#[path = "../../src/upstream/lease/count.rs"]
pub mod count;

#[cfg(all(loom, test))]
mod models;
#[cfg(all(loom, test))]
mod world;
