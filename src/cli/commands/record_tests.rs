//! The command against a stand-in for the admin API.

use super::*;
use crate::{
    api::RecordLeftOut,
    cli::{
        Command,
        fake::{FakeAdmin, json},
        parse,
        run::golden,
    },
};

const FILE: &str = "{\"golden\": 1}\n{\"name\": \"a\", \"request\": {\"path\": \"/a\"}, \"expect\": {}}\n";

fn reply(recorded: usize) -> RecordReply {
    RecordReply {
        service: "iris".parse().unwrap(),
        slot: Slot::Blue,
        ended: RecordEnd::TimedOut,
        recorded,
        wanted: 1,
        seen: 9,
        matching: 3,
        left_out: vec![RecordLeftOut {
            reason: "its answer is the error 503".into(),
            count: 2,
            example: Some("b".into()),
        }],
        took_ms: 1500,
        file: if recorded > 0 { FILE.to_owned() } else { String::new() },
    }
}

/// What the command says, with its exit code.
fn typed(words: &str, admin: &FakeAdmin) -> (u8, String, String) {
    let all = format!("verdigris golden record iris --from blue --admin {} {words}", admin.admin);
    let args = parse(all.split_whitespace()).unwrap();
    let Command::Golden(command) = &args.command else { panic!("not golden") };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = golden(command, &args.options, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Fails when: an argument is not asked for, or the file does not come out as it came.
#[test]
fn what_is_typed_is_asked_for_and_the_file_is_written() {
    let admin = FakeAdmin::start(vec![json(200, &reply(1))]);
    let (code, out, err) = typed(
        "-n 1 --filter path=/v2/models/iris --filter method=POST --filter header:X-Team=a=b --sample 3 --redact user \
         --redact id --timeout 90s --repeat",
        &admin,
    );
    assert_eq!((code, out.as_str()), (0, FILE));
    assert_eq!(
        err,
        "iris: 1 of 1 requests recorded from blue in 1s (9 requests seen, 3 matching)\nended: its time was over; --timeout \
         gives it more\nleft out: 2 x its answer is the error 503 (such as b)\n"
    );
    let asked = &admin.asked()[0];
    assert_eq!(asked.line, "POST /v1/services/iris/slots/blue/record");
    let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    let expected = serde_json::json!({
        "requests": 1, "timeout": "1m 30s", "path_prefix": "/v2/models/iris", "method": "POST",
        "headers": {"x-team": "a=b"}, "sample": 3, "redact": ["user", "id"], "repeat": true,
    });
    assert_eq!(body, expected);
}

/// Fails when: a file is replaced unasked, a recording runs in vain, or nothing is written as if it were something.
#[test]
fn a_file_is_written_whole_and_never_replaced_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("golden.jsonl");
    let output = format!("-o {}", file.display());
    let admin = FakeAdmin::start(vec![json(200, &reply(1)), json(200, &reply(1)), json(200, &reply(0))]);
    let (code, out, err) = typed(&output, &admin);
    assert_eq!((code, out.as_str(), fs::read_to_string(&file).unwrap().as_str()), (0, "", FILE));
    assert!(err.contains("golden.jsonl: written"), "{err}");
    fs::write(&file, "mine").unwrap();
    let (code, _, err) = typed(&output, &admin);
    assert!(code == 2 && err.contains("exists; nothing was recorded") && err.contains("--overwrite"), "{err}");
    assert_eq!((admin.asked().len(), fs::read_to_string(&file).unwrap().as_str()), (1, "mine"));
    let (code, out, _) = typed(&format!("{output} --overwrite --json"), &admin);
    assert_eq!((code, fs::read_to_string(&file).unwrap().as_str()), (0, FILE));
    assert!(out.starts_with("{\"service\":\"iris\"") && out.ends_with("}\n"), "{out}");
    let (code, _, err) = typed(&format!("{output} --overwrite"), &admin);
    assert!(code == 1 && err.contains("nothing was recorded"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), FILE);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
}

/// Fails when: a wrong list of requests is sent, or a right one is not.
#[test]
fn given_requests_are_checked_and_sent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests.jsonl");
    let words = format!("--requests {} --no-repeat", file.display());
    let admin = FakeAdmin::start(vec![json(200, &reply(1))]);
    fs::write(&file, "{\"path\": \"a\"}\n").unwrap();
    let (code, _, err) = typed(&words, &admin);
    assert!(code == 2 && err.contains("requests.jsonl:1:10"), "{err}");
    fs::write(&file, "{\"path\": \"/a\"}\n").unwrap();
    assert_eq!(typed(&words, &admin).0, 0);
    let body: serde_json::Value = serde_json::from_str(&admin.asked()[0].body).unwrap();
    assert_eq!((&body["given"], &body["repeat"]), (&"{\"path\": \"/a\"}\n".into(), &false.into()));
}

/// Fails when: a filter that means nothing is passed over.
#[test]
fn a_filter_that_is_none_is_a_mistake_of_usage() {
    let admin = FakeAdmin::start(vec![]);
    for words in ["--filter path", "--filter size=3", "--filter path=/a --filter path=/b", "--filter head:x=y"] {
        assert_eq!(typed(words, &admin).0, 64, "{words}");
    }
    assert!(admin.asked().is_empty());
}
