//! `verdigris golden`, and `check`: is a file of golden requests right? Nothing is sent.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use clap::{Args, Subcommand};

use super::GoldenRecordArgs;
use crate::{
    checks::golden::{Case, RequestKind, Set},
    cli::{exit::ExitCode, page::Page, session::write},
};

#[derive(Clone, Debug, Args)]
pub struct GoldenArgs {
    #[command(subcommand)]
    pub command: GoldenCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum GoldenCommand {
    /// Check a file of golden requests, and tell every problem with its line. Nothing is sent.
    Check(GoldenCheckArgs),
    Record(Box<GoldenRecordArgs>),
}

#[derive(Clone, Debug, Args)]
pub struct GoldenCheckArgs {
    /// The file, one JSON object a line; docs/golden.md says what is in it.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Says what is in the file, or everything that is wrong with it.
pub(in crate::cli) fn check(args: &GoldenCheckArgs, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let result = Set::read(&args.file);
    let code = if result.is_ok() { ExitCode::Done } else { ExitCode::Failed };
    // If it cannot be written, the exit code still says it.
    let _ = match &result {
        Ok(set) if json => write(out, &document(set)),
        Err(problems) if json => {
            let document = serde_json::json!({ "ok": false, "problems": problems.lines() });
            write(out, &format!("{document}\n"))
        }
        Ok(set) => write(out, &summary(args, set)),
        Err(problems) => write(err, &problems.render()),
    };
    code
}

fn document(set: &Set) -> String {
    let total = set.cases().len();
    let document = serde_json::json!({ "ok": true, "problems": [], "requests": total, "needed": set.need().of(total) });
    format!("{document}\n")
}

/// `golden.jsonl: correct: 20 golden requests (18 HTTP, 2 gRPC), 18 needed`, and where they go.
fn summary(args: &GoldenCheckArgs, set: &Set) -> String {
    let total = set.cases().len();
    let grpc = set.cases().iter().filter(|case| case.request().kind != RequestKind::Http).count();
    let kinds = match (total - grpc, grpc) {
        (http, 0) => format!("{http} HTTP"),
        (0, grpc) => format!("{grpc} gRPC"),
        (http, grpc) => format!("{http} HTTP, {grpc} gRPC"),
    };
    let noun = if total == 1 { "request" } else { "requests" };
    let mut page = Page::new(false);
    let needed = set.need().of(total);
    page.line(format!("{}: correct: {total} golden {noun} ({kinds}), {needed} needed", args.file.display()));
    let mut targets = BTreeMap::new();
    for case in set.cases() {
        *targets.entry(target(case)).or_insert(0_usize) += 1;
    }
    for (target, count) in targets.iter().take(TARGETS_MAX) {
        page.line(format!("  {count} x {target}"));
    }
    if targets.len() > TARGETS_MAX {
        page.line(format!("  and {} other paths", targets.len() - TARGETS_MAX));
    }
    page.into_text()
}

fn target(case: &Case) -> String {
    let request = case.request();
    let method = if request.is_grpc() { "gRPC" } else { request.method.as_str() };
    format!("{method} {}", request.path.path())
}

const TARGETS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str, json: bool) -> (ExitCode, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("golden.jsonl");
        std::fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(&GoldenCheckArgs { file: file.clone() }, json, &mut out, &mut err);
        let shown = |bytes| String::from_utf8(bytes).unwrap().replace(&file.display().to_string(), "golden.jsonl");
        (code, shown(out), shown(err))
    }

    /// Fails when: a right file is refused, or its summary counts wrongly.
    #[test]
    fn a_right_file_is_summed_up() {
        let text = "{\"golden\": 1, \"need\": \"50 %\"}\n\
                    {\"name\": \"a\", \"request\": {\"path\": \"/x\"}, \"expect\": {}}\n\
                    {\"name\": \"b\", \"request\": {\"grpc\": {\"method\": \"/s/M\", \"base64\": \"\"}}, \"expect\": {}}\n";
        let (code, out, err) = typed(text, false);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (
                ExitCode::Done,
                "golden.jsonl: correct: 2 golden requests (1 HTTP, 1 gRPC), 1 needed\n  1 x GET /x\n  1 x gRPC /s/M\n",
                ""
            )
        );
        let (code, out, _) = typed(text, true);
        assert_eq!(code, ExitCode::Done);
        assert_eq!(out, "{\"needed\":1,\"ok\":true,\"problems\":[],\"requests\":2}\n");
    }

    /// Fails when: one of several problems is not told, or its place is wrong.
    #[test]
    fn every_problem_of_a_wrong_file_is_told() {
        let text =
            "{\"name\": \"a\", \"request\": {\"path\": \"x\"}, \"expect\": {\"statsu\": 200}}\n{\"name\": \"b\"\n";
        let (code, out, err) = typed(text, false);
        assert_eq!((code, out.as_str()), (ExitCode::Failed, ""));
        assert!(err.contains("error: request.path: \"x\" is not a path\n --> golden.jsonl:1:35\n"), "{err}");
        assert!(err.contains("expect.statsu: unknown key") && err.contains("did you mean \"status\"?"), "{err}");
        assert!(err.contains("golden.jsonl:2:") && err.ends_with("\n3 problems\n"), "{err}");
        let (code, out, err) = typed(text, true);
        assert_eq!((code, err.as_str()), (ExitCode::Failed, ""));
        assert!(out.starts_with("{\"ok\":false,\"problems\":[\"golden.jsonl:1:35: "), "{out}");
    }

    /// Fails when: a file that is not there is anything but a problem with advice.
    #[test]
    fn a_file_that_is_not_there_is_a_problem() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = GoldenCheckArgs { file: "/nowhere/golden.jsonl".into() };
        assert_eq!(check(&args, false, &mut out, &mut err), ExitCode::Failed);
        assert!(String::from_utf8(err).unwrap().contains("cannot read the golden file"));
    }
}
