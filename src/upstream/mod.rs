//! The model-server side: what stands behind a slot and who is using it.
//!
//! Never: which slot is active, or why.

pub mod lease;
