//! Connections that made one request each, and stay open.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    exchange::exchange,
    options::Options,
    origin::{connect, wait_for_end},
};

/// Connections that are opened at once: few, so that the proxy's upstream connections stay few as well.
const AT_ONCE: usize = 16;

pub async fn run(options: &Options) -> Result<()> {
    let (address, request) = (options.address()?, Arc::new(options.request(false)));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for _ in 0..options.number("connections", 5_000_usize)? {
        let (request, places) = (request.clone(), places.clone());
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let mut stream = connect(address).await?;
            let answer = exchange(&mut stream, &request, &mut Vec::with_capacity(1024)).await?;
            ensure!(answer.status == 200, "answered {}", answer.status);
            anyhow::Ok(stream)
        });
    }
    let mut open = Vec::new();
    while let Some(opened) = opening.join_next().await {
        open.push(opened??);
    }
    println!("ready");
    wait_for_end().await
}
