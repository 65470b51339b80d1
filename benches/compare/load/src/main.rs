//! The origin and the clients that Debian has no program for. One thread each; every command prints one line of JSON, or
//! `ready` and then goes on until its standard input ends.
//!
//! ```text
//! load origin ADDR…                               answers small JSON; …/stream?tokens=100&every_ms=20 streams events;
//!                                                 …/head answers the head of the request as it came
//! load steady ADDR path=/ rate=1000 seconds=10 connections=32 body=…
//!             requests at a steady rate, each due at its own time whatever became of those before it. Lines `begin` and
//!             `end` on standard input mark what happens meanwhile: latencies near it and far from it are told apart
//! load handshakes ADDR path=/ seconds=5 connections=16     a new TLS 1.3 connection for each request, never resumed
//! load idle ADDR path=/ connections=5000                   connections that made one request each, and stay open
//! load hold ADDR path=/stream streams=400                  event streams that stay open
//! load streams ADDR path=/stream streams=400 seconds=10    event streams, each followed by another
//! ```

mod exchange;
mod handshakes;
mod hold;
mod idle;
mod options;
mod origin;
mod steady;
mod streams;

use anyhow::{Result, bail};
use options::Options;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let options = Options::new(words)?;
    match command.as_str() {
        "origin" => origin::serve(&options).await,
        "steady" => steady::run(&options).await,
        "handshakes" => handshakes::run(&options).await,
        "idle" => idle::run(&options).await,
        "hold" => hold::run(&options).await,
        "streams" => streams::run(&options).await,
        _ => bail!("unknown command {command:?}; known: origin, steady, handshakes, idle, hold, streams"),
    }
}
