//! Event streams, side by side; each is followed by another until the time is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::{exchange::exchange, options::Options, origin::connect};

pub async fn run(options: &Options) -> Result<()> {
    let (address, request) = (options.address()?, Arc::new(options.request(false)));
    let count = options.number("streams", 400_u32)?;
    let ends = Instant::now() + Duration::from_secs_f64(options.number("seconds", 5.0)?);
    let mut streams = JoinSet::new();
    for index in 0..count {
        let request = request.clone();
        streams.spawn(async move {
            // Spread over one pause between tokens, lest all tokens come at once.
            tokio::time::sleep(Duration::from_millis(20) * index / count).await;
            let (mut tokens, mut broken) = (0, 0);
            while Instant::now() < ends {
                let one = async {
                    let mut stream = connect(address).await?;
                    exchange(&mut stream, &request, &mut Vec::with_capacity(4096)).await
                };
                match one.await {
                    Ok(answer) if answer.status == 200 => tokens += answer.events,
                    _ => broken += 1,
                }
            }
            (tokens, broken)
        });
    }
    let (mut tokens, mut broken) = (0, 0);
    while let Some(stream) = streams.join_next().await {
        let (more, failed) = stream?;
        tokens += more;
        broken += failed;
    }
    println!("{{\"done\":{tokens},\"failed\":{broken}}}");
    Ok(())
}
