//! Verdigris: a blue-green traffic switcher for model servers.
//!
//! > Deploy the new model to green → test it → switch → watch → roll back in one word if it is worse → drain → delete
//! > blue. No user of the service notices any of it.
//!
//! # The rooms
//!
//! Each module is a room; its front says what it is for, what always holds in it, and what it never knows. A room
//! imports only rooms that stand before it here (a test reads the sources and holds them to it):
//!
//! [`ids`] < [`telemetry`] < [`config`] < [`api`] < [`switch`] < [`net`] < [`upstream`] < [`table`] < [`store`] <
//! [`shadow`] < [`checks`] < [`proxy`] < [`control`] < [`admin`] < [`cli`] < [`demo`] < [`app`]
//!
//! [`proxy`] and [`control`] never import each other: decisions go *down* through the [`table`], facts come *up* through
//! leases, health and counters.
//!
//! # The life of a request
//!
//! `net` accepts, reads the PROXY header, shakes hands for TLS and tells the protocol → `proxy::handler` makes an `Exchange`, which writes the request's record when
//! its last part is dropped → `route` checks the request and finds its service in the table → `assign` takes a lease on
//! the active slot: counted first, then checked → `turn` waits where the slot has a limit and is full → `forward` picks
//! an endpoint of those that are not ejected, gets a connection or waits for a server that is away, sends, and sends
//! again, to the same endpoint or another, where that is permitted → the answer's body carries lease and exchange until its last byte.
//!
//! # The life of a switch
//!
//! admin, CLI or file → [`control::Handle`] → the one controller task → [`switch`], a pure state machine that names
//! effects → gate → journal fsync → publish the table → answer → save → drain of the old slot. If the journal cannot be
//! written, traffic has not moved.
//!
//! # Threads
//!
//! One worker per core, each with a current-thread runtime, its own client connections, upstream pools, leases and
//! counters: a request takes no lock and touches no cache line that another worker writes. Control, probes and admin
//! run on threads of their own.

pub mod admin;
pub mod api;
pub mod app;
pub mod checks;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod ids;
pub mod net;
pub mod proxy;
pub mod shadow;
pub mod store;
pub mod switch;
pub mod table;
pub mod telemetry;
pub mod upstream;
