//! `verdigris golden record`: makes a golden file from live traffic, or from requests that are given.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use http::Method;
use tokio::time::{MissedTickBehavior, interval};

use super::slot_path;
use crate::{
    api::{Problem, ProblemKind, RecordEnd, RecordProgress, RecordReply, RecordRequest},
    checks::golden::{Given, Set},
    cli::{
        args,
        client::{Answer, Client},
        error::CliError,
        exit::ExitCode,
        page::Page,
        render,
        session::{document, write},
    },
    ids::{ServiceName, Slot},
};

/// Make a golden file: from live traffic, or from given requests, answered by one slot.
///
/// The file goes to stdout, or to -o; how far it is, and what was left out and why, goes to stderr. Credentials in headers
/// are never recorded. The exit code is 1 if fewer were recorded than asked for; what there is was written then.
#[derive(Clone, Debug, Args)]
pub struct GoldenRecordArgs {
    /// The service's name.
    pub service: ServiceName,
    /// The slot whose answers are right: blue or green.
    #[arg(long, value_name = "SLOT")]
    pub from: Slot,
    /// Record so many requests; 50, or all of --requests, if it is left out.
    #[arg(short = 'n', long = "number", value_name = "N")]
    pub number: Option<usize>,
    /// Only live requests with this: path=/v2/models/iris (what it begins with), method=POST, header:NAME=VALUE.
    #[arg(long = "filter", value_name = "WHAT=VALUE")]
    pub filters: Vec<String>,
    /// Every so many-th of them.
    #[arg(long, value_name = "K")]
    pub sample: Option<u64>,
    /// Keep the values of JSON members, tensors, headers and query parameters of this name out of the file.
    #[arg(long = "redact", value_name = "NAME")]
    pub redact: Vec<String>,
    /// Send these requests instead of recording live traffic: a golden file, or JSON Lines of requests.
    #[arg(long, value_name = "FILE")]
    pub requests: Option<PathBuf>,
    /// Record so long at most.
    #[arg(long, value_name = "TIME", value_parser = args::duration, default_value = "5m")]
    pub timeout: Duration,
    /// Send live requests to the slot once more, to find what varies in its answers.
    #[arg(long, conflicts_with = "no_repeat")]
    pub repeat: bool,
    /// Send the given requests only once.
    #[arg(long)]
    pub no_repeat: bool,
    /// Write the file here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file of -o if it exists.
    #[arg(long, requires = "output")]
    pub overwrite: bool,
}

pub(in crate::cli) async fn run(
    args: &GoldenRecordArgs,
    client: &Client,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, CliError> {
    if let Some(path) = args.output.as_ref().filter(|path| !args.overwrite && path.exists()) {
        return Err(refused(format!("{} exists; nothing was recorded", path.display()), "replace it with --overwrite"));
    }
    let given = args.requests.as_deref().map(read_given).transpose()?;
    let request = request(args, given)?;
    let answer = record(args, &request, client, err).await?;
    let reply = &answer.value;
    if reply.recorded > 0 {
        Set::parse(&reply.file, "recorded").map_err(|problems| {
            CliError::Output(io::Error::other(format!("the file would be wrong: {}", problems.lines().join("; "))))
        })?;
        match &args.output {
            Some(path) => put(path, &reply.file, args.overwrite)?,
            None if json => {}
            None => write(out, &reply.file)?,
        }
    }
    if json {
        write(out, &document(&answer.json))?;
    }
    // Who does not read it does not need it.
    let _ = write(err, &summary(args, reply));
    Ok(if reply.recorded >= reply.wanted { ExitCode::Done } else { ExitCode::Failed })
}

/// The list of requests, checked here so that its problems are told with this file's name.
fn read_given(path: &Path) -> Result<String, CliError> {
    let unreadable =
        |error: io::Error| CliError::Usage(format!("cannot read {}: {error}; check --requests", path.display()));
    let mut text = String::new();
    File::open(path).map_err(unreadable)?.take(GIVEN_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > GIVEN_BYTES_MAX {
        return Err(CliError::Usage(format!("{} is longer than 48 MiB; send it in several parts", path.display())));
    }
    match Given::parse(&text, path) {
        Ok(_) => Ok(text),
        Err(problems) => {
            let mut problem = Problem::new(ProblemKind::Invalid, format!("{} is wrong", path.display()));
            problem.problems = problems.lines();
            Err(of(problem))
        }
    }
}

fn request(args: &GoldenRecordArgs, given: Option<String>) -> Result<RecordRequest, CliError> {
    let mut request = RecordRequest {
        requests: args.number,
        timeout: Some(render::duration(args.timeout)),
        sample: args.sample,
        redact: args.redact.clone(),
        repeat: if args.repeat { Some(true) } else { args.no_repeat.then_some(false) },
        given,
        ..RecordRequest::default()
    };
    for filter in &args.filters {
        let wrong = || {
            CliError::Usage(format!(
                "--filter {filter:?} is none; write path=/PREFIX, method=METHOD or header:NAME=VALUE, each but the last once"
            ))
        };
        let (what, value) = filter.split_once('=').ok_or_else(wrong)?;
        let before = match what.split_once(':') {
            None if what == "path" => request.path_prefix.replace(value.to_owned()),
            None if what == "method" => request.method.replace(value.to_owned()),
            Some(("header", name)) => request.headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            _ => return Err(wrong()),
        };
        if before.is_some() {
            return Err(wrong());
        }
    }
    Ok(request)
}

/// Has it recorded, and tells meanwhile how far it is.
async fn record(
    args: &GoldenRecordArgs,
    request: &RecordRequest,
    client: &Client,
    err: &mut dyn Write,
) -> Result<Answer<RecordReply>, CliError> {
    let path = format!("{}/record", slot_path(&args.service, args.from));
    let mut asked = std::pin::pin!(client.change(Method::POST, &path, Some(request), args.timeout));
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.tick().await;
    let mut told = None;
    loop {
        let progress = tokio::select! {
            biased;
            answer = &mut asked => return answer,
            progress = async {
                look.tick().await;
                client.look::<RecordProgress>(&path, Duration::ZERO).await
            } => progress,
        };
        // How far it is matters less than that it goes on.
        let Ok(Answer { value, .. }) = progress else { continue };
        let numbers = (value.recorded, value.seen);
        if value.under_way && told.replace(numbers) != Some(numbers) {
            let mut page = Page::new(false);
            page.line(format!(
                "{} of {} recorded ({})",
                value.recorded,
                value.wanted,
                seen(value.seen, value.matching)
            ));
            let _ = write(err, &page.into_text());
        }
    }
}

fn seen(seen: u64, matching: u64) -> String {
    let requests = render::counted(seen, "request");
    if matching == seen { format!("{requests} seen") } else { format!("{requests} seen, {matching} matching") }
}

fn summary(args: &GoldenRecordArgs, reply: &RecordReply) -> String {
    let mut page = Page::new(false);
    let RecordReply { service, slot, recorded, wanted, .. } = reply;
    let (took, seen) = (render::short_time(reply.took_ms), seen(reply.seen, reply.matching));
    page.line(format!("{service}: {recorded} of {wanted} requests recorded from {slot} in {took} ({seen})"));
    match reply.ended {
        RecordEnd::Done => {}
        RecordEnd::TimedOut => page.line("ended: its time was over; --timeout gives it more"),
        RecordEnd::SlotChanged => page.line(format!("ended: {slot} was left by a switch, or got other endpoints")),
    }
    for left in &reply.left_out {
        let example = left.example.as_ref().map_or_else(String::new, |name| format!(" (such as {name})"));
        page.line(format!("left out: {} x {}{example}", left.count, left.reason));
    }
    match &args.output {
        _ if reply.recorded == 0 => page.line("nothing was recorded, and nothing written"),
        Some(path) => page.line(format!("{}: written; read it, then name it in service.gate.golden", path.display())),
        None => {}
    }
    page.into_text()
}

/// Writes the file as a whole or not at all: a running gate may have it named.
fn put(path: &Path, text: &str, overwrite: bool) -> Result<(), CliError> {
    let failed = |error: io::Error| {
        CliError::Output(io::Error::new(error.kind(), format!("{}: {error}; nothing was kept", path.display())))
    };
    if !overwrite {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        return file.write_all(text.as_bytes()).map_err(|error| {
            let _ = fs::remove_file(path);
            failed(error)
        });
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).map_err(|error| {
        // What cannot be removed either is named by the error.
        let _ = fs::remove_file(&draft);
        failed(error)
    })
}

fn refused(message: String, hint: &str) -> CliError {
    of(Problem::new(ProblemKind::Refused, message).hint(hint))
}

fn of(problem: Problem) -> CliError {
    let json = serde_json::to_string(&problem).unwrap_or_default();
    CliError::Problem { problem: Box::new(problem), json }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// In JSON it grows, and the admin API takes 64 MiB.
const GIVEN_BYTES_MAX: u64 = 48 << 20;

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
