//! Event streams that stay open, side by side, until standard input ends.

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use crate::{
    options::Options,
    origin::{connect, wait_for_end},
};

pub async fn run(options: &Options) -> Result<()> {
    let (address, request) = (options.address()?, options.request(false));
    let mut opening = JoinSet::new();
    for _ in 0..options.number("streams", 400_usize)? {
        let request = request.clone();
        opening.spawn(async move {
            let mut stream = connect(address).await?;
            stream.write_all(&request).await?;
            let mut buffer = vec![0; 4096];
            let read = stream.read(&mut buffer).await?;
            ensure!(buffer[..read].starts_with(b"HTTP/1.1 200"), "not answered with 200");
            tokio::spawn(async move { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} });
            anyhow::Ok(())
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    println!("ready");
    wait_for_end().await
}
