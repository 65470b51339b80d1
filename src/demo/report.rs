//! What the demo prints: the text at the start, the line each second, the table at the end. Pure: numbers in, text out.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use super::{
    iris::flower,
    ledger::Tally,
    load::{CONNECTIONS, RATE, STREAMS},
    protocol::inference_body,
    servers::Servers,
};
use crate::ids::Slot;

/// The admin address that the client commands try by themselves.
const ADMIN_DEFAULT: &str = "127.0.0.1:9900";

/// What is running.
pub(super) fn introduction(proxy: SocketAddr, admin: SocketAddr, servers: &Servers) -> String {
    let (blue, green) = (servers.blue.addr(), servers.green.addr());
    format!(
        "Verdigris demo: two model servers, the proxy in front of them and a steady load, all in this process.\n\
         \n  proxy   http://{proxy}\
         \n  admin   http://{admin}\
         \n  blue    http://{blue}   iris classifier, version 1: looks at sepals only, 82 % right\
         \n  green   http://{green}   iris classifier, version 2: looks at petals too, 97 % right\
         \n  load    {RATE} inferences a second over {CONNECTIONS} connections, and {STREAMS} token streams; \
         every answer is checked\n"
    )
}

/// How to join in from another terminal.
/// `program` is how this program was called, so that the commands work as they stand.
pub(super) fn invitation(program: &str, proxy: SocketAddr, admin: SocketAddr) -> String {
    let option = if admin.to_string() == ADMIN_DEFAULT { String::new() } else { format!(" --admin http://{admin}") };
    let body = inference_body(&[flower(60).features]);
    format!(
        "Try in another terminal:\n\
         \n  {program} status iris{option}\
         \n  {program} switch iris --to green{option}\
         \n  {program} rollback iris{option}\
         \n  curl -i http://{proxy}/v2/models/iris/infer -d '{body}'\
         \n  curl -iN http://{proxy}/v2/models/iris/generate_stream\
         \n  http://{admin}/ in a browser, for the dashboard\
         \n\nCtrl-C ends the demo with a table.\n"
    )
}

/// What one line tells.
#[derive(Debug)]
pub(super) struct Second<'a> {
    /// Since the load began.
    pub(super) elapsed: Duration,
    /// The slot that serves, if the admin API has said so yet.
    pub(super) active: Option<Slot>,
    /// Booked since the last line, and how long ago that was.
    pub(super) window: &'a Tally,
    pub(super) length: Duration,
    pub(super) streams_open: u64,
    /// Requests that still run on the other slot.
    pub(super) draining: u64,
    /// Everything that went wrong since the load began.
    pub(super) faults: u64,
}

/// One compact line about the last second.
pub(super) fn line(second: &Second<'_>) -> String {
    let window = second.window;
    let [one, two] = window.answered;
    let mut line = format!(
        "{:>4} s  {:<5} {:>4.0} req/s  v1 {one:>4}  v2 {two:>4}  right {:>5}  p50 {}  p99 {}  streams {:>2}  lost {}",
        second.elapsed.as_secs(),
        second.active.map_or("?", Slot::as_str),
        window.requests as f64 / second.length.as_secs_f64().max(0.001),
        percent(window.right.iter().sum(), one + two),
        milliseconds(window.latencies.percentile(50)),
        milliseconds(window.latencies.percentile(99)),
        second.streams_open,
        second.faults,
    );
    if let (Some(active), 1..) = (second.active, second.draining) {
        // Writing to a String cannot fail.
        let _infallible = write!(line, "  ({} still runs {})", active.other(), second.draining);
    }
    line
}

/// The table at the end.
pub(super) fn table(total: &Tally, elapsed: Duration) -> String {
    let [one, two] = total.answered;
    let [streams_one, streams_two] = total.streams_whole;
    let lost = &total.lost;
    let mut rows = vec![
        format!("{:<26}{:>12}{:>12}{:>12}", "", "version 1", "version 2", "total"),
        counts("inferences answered", [one, two]),
        format!("{:<26}{:>12}{:>12}", "  right species", percent(total.right[0], one), percent(total.right[1], two)),
        counts("streams answered whole", [streams_one, streams_two]),
        String::new(),
        row("inferences sent", total.requests, "each once, none again after a failure"),
        row("  lost", lost.total(), &loss_kinds(total)),
        row("stale answers", total.stale, "by the old version, asked for after a switch had returned"),
        row("streams cut", total.streams_cut, "refused, or ended without [DONE]"),
        row("streams mixed", total.streams_mixed, "tokens of two versions in one stream"),
        row("client connections lost", total.connections_lost, "closed by the proxy"),
        format!(
            "latency over {} s: p50 {}, p99 {}",
            elapsed.as_secs(),
            milliseconds(total.latencies.percentile(50)).trim_start(),
            milliseconds(total.latencies.percentile(99)).trim_start(),
        ),
    ];
    rows.extend(total.samples.iter().map(|sample| format!("  ! {sample}")));
    rows.iter().map(|row| format!("{}\n", row.trim_end())).collect()
}

fn loss_kinds(total: &Tally) -> String {
    let lost = &total.lost;
    format!(
        "refused {}, broken {}, late {}, malformed {}, of two versions {}",
        lost.refused, lost.broken, lost.late, lost.malformed, lost.mixed
    )
}

fn counts(name: &str, of_versions: [u64; 2]) -> String {
    let [one, two] = of_versions;
    format!("{name:<26}{:>12}{:>12}{:>12}", grouped(one), grouped(two), grouped(one + two))
}

fn row(name: &str, count: u64, meaning: &str) -> String {
    format!("{name:<26}{:>12}  {meaning}", grouped(count))
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

fn milliseconds(time: Duration) -> String {
    format!("{:>5.1} ms", time.as_secs_f64() * 1000.0)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|three| str::from_utf8(three).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_line_is_compact_and_names_the_drain() {
        let window = Tally { requests: 200, answered: [120, 80], right: [100, 78], ..Tally::default() };
        let second = Second {
            elapsed: Duration::from_secs(7),
            active: Some(Slot::Green),
            window: &window,
            length: Duration::from_secs(1),
            streams_open: 8,
            draining: 5,
            faults: 0,
        };
        assert_eq!(
            line(&second),
            "   7 s  green  200 req/s  v1  120  v2   80  right 89.0 %  p50   0.0 ms  p99   0.0 ms  streams  8  lost 0  \
             (blue still runs 5)"
        );
    }

    #[test]
    fn the_table_shows_each_kind_of_fault() {
        let mut total = Tally { requests: 3005, answered: [2000, 1000], right: [1640, 970], ..Tally::default() };
        total.lost.refused = 5;
        total.streams_cut = 6;
        total.streams_mixed = 7;
        total.stale = 8;
        total.connections_lost = 9;
        total.samples.push("inference: status 502".to_owned());
        let table = table(&total, Duration::from_secs(15));
        for text in ["2,000", "97.0 %", "3,005", "refused 5", "stale answers                        8"] {
            assert!(table.contains(text), "{text} is missing in\n{table}");
        }
        for (name, count) in [("streams cut", 6), ("streams mixed", 7), ("client connections lost", 9)] {
            assert!(table.contains(&format!("{name:<26}{count:>12}")), "{name} is missing in\n{table}");
        }
        assert!(table.ends_with("  ! inference: status 502\n"));
    }
}
