//! Requests at a steady rate. A latency counts from the instant a request was due, so that a stall is seen by all that it
//! held up, and not only by the few that were under way.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    task::{JoinSet, LocalSet},
    time::Instant,
};

use crate::{exchange::exchange, options::Options, origin::connect};

/// What was due this long before something began is near it,
const BEFORE: Duration = Duration::from_millis(2);
/// and what was due this long after it had ended.
const AFTER: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Notes {
    /// When each was due, and how late its last byte came.
    answers: RefCell<Vec<(Instant, Duration)>>,
    failed: Cell<u64>,
    /// What happened meanwhile.
    windows: RefCell<Vec<(Instant, Option<Instant>)>>,
}

pub async fn run(options: &Options) -> Result<()> {
    LocalSet::new().run_until(measure(options)).await
}

async fn measure(options: &Options) -> Result<()> {
    let address = options.address()?;
    let pause = Duration::from_secs_f64(1.0 / options.number("rate", 1000.0)?);
    let begins = Instant::now() + Duration::from_millis(100);
    let ends = begins + Duration::from_secs_f64(options.number("seconds", 10.0)?);
    let request: Rc<[u8]> = options.request(false).into();
    let (notes, next) = (Rc::new(Notes::default()), Rc::new(Cell::new(0_u32)));
    let marking = tokio::task::spawn_local(mark(notes.clone()));
    let mut clients = JoinSet::new();
    for _ in 0..options.number("connections", 32_usize)? {
        let (notes, next, request) = (notes.clone(), next.clone(), request.clone());
        clients.spawn_local(async move {
            let (mut connection, mut buffer) = (None, Vec::with_capacity(1024));
            loop {
                let due = begins + pause * next.replace(next.get() + 1);
                if due >= ends {
                    return;
                }
                tokio::time::sleep_until(due).await;
                let one = async {
                    let mut stream = match connection.take() {
                        Some(open) => open,
                        None => connect(address).await?,
                    };
                    let answer = exchange(&mut stream, &request, &mut buffer).await?;
                    ensure!(answer.status == 200, "answered {}", answer.status);
                    anyhow::Ok(answer.stays_open.then_some(stream))
                };
                match tokio::time::timeout(TIMEOUT, one).await {
                    Ok(Ok(open)) => {
                        connection = open;
                        notes.answers.borrow_mut().push((due, due.elapsed()));
                    }
                    Ok(Err(_)) | Err(_) => notes.failed.set(notes.failed.get() + 1),
                }
            }
        });
    }
    println!("ready");
    while let Some(client) = clients.join_next().await {
        client?;
    }
    marking.abort();
    report(&notes);
    // The blocking read of standard input would otherwise be waited for.
    std::process::exit(0);
}

/// `begin` and `end` on standard input.
async fn mark(notes: Rc<Notes>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let now = Instant::now();
        let mut windows = notes.windows.borrow_mut();
        match (line.as_str(), windows.last_mut()) {
            ("begin", _) => windows.push((now, None)),
            ("end", Some(last)) => last.1 = Some(now),
            _ => eprintln!("`begin` or `end` is expected, not {line:?}"),
        }
    }
}

fn report(notes: &Notes) {
    let windows = notes.windows.borrow();
    let is_near = |due: Instant| {
        let near = |(begin, end): &(Instant, Option<Instant>)| {
            due + BEFORE >= *begin && end.is_none_or(|end| due <= end + AFTER)
        };
        windows.iter().any(near)
    };
    let (near, far): (Vec<_>, Vec<_>) = notes.answers.borrow().iter().copied().partition(|(due, _)| is_near(*due));
    let failed = notes.failed.get();
    println!(
        "{{\"done\":{},\"failed\":{failed},\"windows\":{},\"near\":{},\"far\":{}}}",
        near.len() + far.len(),
        windows.len(),
        percentiles(near),
        percentiles(far),
    );
}

/// In microseconds.
fn percentiles(answers: Vec<(Instant, Duration)>) -> String {
    let mut late: Vec<u128> = answers.into_iter().map(|(_, late)| late.as_micros()).collect();
    late.sort_unstable();
    let at = |share: f64| late.get((late.len() as f64 * share) as usize).or(late.last()).copied().unwrap_or(0);
    format!(
        "{{\"count\":{},\"p50\":{},\"p99\":{},\"p999\":{},\"max\":{}}}",
        late.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        late.last().copied().unwrap_or(0)
    )
}
