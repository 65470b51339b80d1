//! Waiting for something to become true, with a deadline; never a sleep that hopes.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Long enough for a slow machine, short enough to end a run that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The future's result, or a panic that says what was waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_late) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks again and again until the answer is `Ok`; the last refusal is in the panic.
pub(crate) async fn until<T, E, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    E: std::fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(last) if began.elapsed() > PATIENCE => panic!("waited {PATIENCE:?} in vain for {what}: {last:?}"),
            Err(_not_yet) => tokio::time::sleep(Duration::from_millis(3)).await,
        }
    }
}

/// Asks a plain question until it is true.
pub(crate) async fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || {
        let answer = ask();
        async move { answer.then_some(()).ok_or("still false") }
    })
    .await;
}
