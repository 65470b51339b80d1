//! What commands show while they wait, and whole releases, against the stand-in for the admin API.

use super::{
    Terminal,
    commands::samples,
    fake::{Canned, FakeAdmin, json},
    tests::{answered, typed, typed_at},
};
use crate::{
    api::{
        CancelReply, ChangeOutcome, ChangeReply, EndpointHealth, Event, GateNews, GatePurpose, GateReport,
        HistoryEntry, Outcome, Problem, ProblemKind, ServiceStatus, SlotUpdate, SwitchRequest, TestReply, WaitFor,
    },
    ids::{Generation, Slot},
};

/// A gate of iris's green that passes, step by step.
fn passing(purpose: GatePurpose) -> Vec<Event> {
    let golden = Some(samples::running("golden", Some("12 of 60 golden requests")));
    let steps = [
        samples::gate_news(&[], Some(samples::running("readiness", None)), None),
        samples::gate_news(&["readiness"], golden, None),
        samples::gate_news(&["readiness", "golden"], None, Some(true)),
    ];
    steps.map(|news| Event::Gate(GateNews { purpose, ..news })).into()
}

/// Traffic moved from blue to green.
fn moved() -> Event {
    let entry = samples::history().entries.swap_remove(0);
    Event::Change(HistoryEntry { outcome: Outcome::Done, forced: false, generation: Generation(8), ..entry })
}

/// Green with its new endpoint, which is healthy or not.
fn status(health: EndpointHealth) -> ServiceStatus {
    let mut service = samples::services().services.swap_remove(0);
    let slot = &mut service.slots.green;
    slot.endpoints.truncate(1);
    slot.endpoints[0].health = health;
    slot.endpoints[0].detail = if health == EndpointHealth::Healthy { "200 (1 ms)" } else { "refused (2 ms)" }.into();
    service
}

fn ready() -> Canned {
    json(200, &status(EndpointHealth::Healthy))
}

fn refused(gate: GateReport) -> Canned {
    let mut problem = Problem::new(ProblemKind::Refused, "the gate of slot green failed");
    problem.gate = Some(gate);
    json(409, &problem)
}

/// Fails when: in `follow`, the events are not asked for, or what they say is not told.
#[test]
fn a_switch_tells_the_steps_of_its_gate() {
    let admin = FakeAdmin::start(vec![json(200, &samples::switched()).after(&passing(GatePurpose::Switch))]);
    let ended = typed(&admin.admin, "switch iris --to green --json");
    assert_eq!(ended.err, "green: readiness passed (5ms)\ngreen: golden passed (5ms)\n");
    assert_eq!(ended.out, format!("{}\n", serde_json::to_string(&samples::switched()).unwrap()), "one document");
    assert_eq!((ended.code, admin.listened().len()), (0, 1));
}

/// Fails when: in `progress`, gates of another purpose or slot are taken for this one's.
#[test]
fn a_command_tells_of_its_own_gate_alone() {
    let reply = || json(200, &samples::switched());
    let admin = FakeAdmin::start(vec![
        reply().after(&passing(GatePurpose::Test)),
        reply().after(&passing(GatePurpose::Switch)),
        reply().after(&passing(GatePurpose::Switch)),
    ]);
    assert_eq!(typed(&admin.admin, "switch iris").err, "", "a test's gate");
    assert_eq!(typed(&admin.admin, "switch iris --to blue").err, "", "of the other slot");
    assert_eq!(typed(&admin.admin, "switch llama").err, "", "of another service");
}

/// Fails when: in `news`, an events stream that is refused is waited for, or one that breaks off is not opened again.
#[test]
fn a_command_does_without_events() {
    let deaf = FakeAdmin::start(vec![json(200, &samples::switched())]).deaf();
    let ended = typed(&deaf.admin, "switch iris");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let steps = &passing(GatePurpose::Switch)[..2];
    let breaking = json(200, &samples::switched()).after(steps).breaking().after_listeners(2);
    let breaking = FakeAdmin::start(vec![breaking]);
    let ended = typed(&breaking.admin, "switch iris");
    assert_eq!((ended.code, ended.err.as_str()), (0, "green: readiness passed (5ms)\n"));
    assert_eq!(breaking.listened().len(), 2, "it listens again");
}

/// Fails when: in `session`, the live line is not cut to the width, or is left standing before the answer.
#[test]
fn a_terminal_has_one_line_that_is_written_over() {
    let admin = FakeAdmin::start(vec![json(200, &samples::tested(true)).after(&passing(GatePurpose::Test))]);
    let terminal = Terminal { live: Some(|| 24), ..Terminal::default() };
    let ended = typed_at(terminal, &admin.admin, "test iris green");
    let lines: Vec<_> = ended.err.split('\r').skip(1).collect();
    assert!(lines.iter().all(|line| line.ends_with("\u{1b}[K") && line.len() <= 24 + 3), "{lines:?}");
    assert_eq!(lines.last(), Some(&"\u{1b}[K"), "taken away before the report");
    assert!(!ended.err.contains('\n'), "the report says it all: {:?}", ended.err);
    assert!(ended.out.starts_with("iris: the gate of green passed\n"));
}

/// Fails when: in `follow`, the drain is not looked at, or its numbers are not shown.
#[test]
fn waiting_for_the_drain_counts_what_is_left() {
    let mut over = samples::switched();
    over.drain = Some(samples::drained());
    let mut events = passing(GatePurpose::Switch);
    events.push(moved());
    let admin = FakeAdmin::start(vec![json(200, &over).after(&events).after_looks(1)]).draining(&[samples::draining()]);
    let ended = typed(&admin.admin, "switch iris --wait-drained");
    assert_eq!(
        ended.err,
        "waiting up to 10m for the slot that served before to drain\n\
         green: readiness passed (5ms)\n\
         green: golden passed (5ms)\n\
         green serves now, generation 8; blue drains\n\
         blue: 2 in flight (2 requests), the oldest for 1s\n"
    );
    assert_eq!(ended.code, 0);

    let admin = FakeAdmin::start(vec![json(200, &over).after(&events).after_looks(1)]).draining(&[samples::draining()]);
    let terminal = Terminal { live: Some(|| 120), ..Terminal::default() };
    let shown = typed_at(terminal, &admin.admin, "switch iris --wait-drained --timeout 20m").err;
    assert!(shown.contains("\rblue: 2 in flight (2 requests), the oldest for 1s; 19m 59s left\u{1b}[K"), "{shown:?}");
    assert!(
        shown.contains("\rgreen: readiness passed, golden passed") || shown.contains("golden passed\n"),
        "{shown:?}"
    );
}

/// P3. Fails when: a gate can be overruled without a word why.
#[test]
fn force_needs_a_reason() {
    let admin = FakeAdmin::start(vec![]);
    for words in ["switch iris --force", "rollback iris --force", "switch iris --force --dry-run"] {
        let ended = typed(&admin.admin, words);
        assert_eq!(ended.code, 64, "{words}");
        assert_eq!(
            ended.err, "usage: --force overrules the gate, and the journal must say why; add --reason TEXT\n",
            "{words}"
        );
    }
    assert_eq!(admin.lines(), [""; 0]);
}

/// Fails when: a dry run is not asked for as one, or is not told from a switch by its ending.
#[test]
fn a_dry_run_only_says_what_would_be() {
    let admin =
        FakeAdmin::start(vec![json(200, &samples::dry_run(None)), json(200, &samples::dry_run(Some("it is busy")))]);
    let would = typed(&admin.admin, "switch iris --dry-run");
    assert_eq!(admin.asked()[0].body, r#"{"force":false,"dry_run":true}"#);
    assert_eq!((would.code, admin.listened().len()), (0, 0));
    assert!(would.out.starts_with("iris: would switch from blue to green\n"), "{}", would.out);
    assert_eq!(typed(&admin.admin, "switch iris --dry-run").code, 2);
}

/// Fails when: a flag of a change does not reach the admin API.
#[test]
fn what_to_wait_for_is_asked_for() {
    let reply = || json(200, &samples::switched());
    let admin = FakeAdmin::start(vec![reply(), reply(), reply(), reply()]);
    for (words, expected) in [
        ("switch iris --wait", r#"{"force":false,"wait":"switched"}"#),
        ("switch iris --supersede", r#"{"force":false,"supersede":true}"#),
        ("switch iris --no-wait", r#"{"force":false,"wait":"none"}"#),
        ("rollback iris --supersede --no-wait", r#"{"force":false,"supersede":true,"wait":"none"}"#),
    ] {
        typed(&admin.admin, words);
        assert_eq!(admin.asked().last().unwrap().body, expected, "{words}");
    }
    assert_eq!(admin.listened().len(), 2, "who does not wait does not listen");
}

fn under_way() -> ChangeReply {
    let message = "iris: switch to green is under way".into();
    ChangeReply { outcome: ChangeOutcome::UnderWay, message, gate: None, drain: None, ..samples::switched() }
}

/// Fails when: `--no-wait` is not done when the gate runs, or a wait that ends before the gate is called done.
#[test]
fn a_change_under_way_is_done_only_for_who_does_not_wait() {
    let ended = answered(json(202, &under_way()), "switch iris --no-wait");
    assert_eq!(ended.code, 0);
    assert_eq!(
        ended.out,
        "iris: switch to green is under way\n\
         hint: to see how it stands: verdigris status iris\n\
         hint: what became of it: verdigris history iris\n\
         hint: to stop it while its gate runs: verdigris cancel iris\n"
    );
    assert_eq!(answered(json(202, &under_way()), "switch iris").code, 1);
    let reply = TestReply { under_way: true, gate: GateReport::default(), ..samples::tested(true) };
    let admin = FakeAdmin::start(vec![json(202, &reply)]);
    let ended = typed(&admin.admin, "test iris green --no-wait");
    assert_eq!((ended.code, admin.asked()[0].body.as_str()), (0, r#"{"background":true}"#));
    assert!(ended.out.starts_with("iris: the gate of green is under way\nhint: "), "{}", ended.out);
}

/// Fails when: a change or a test is cancelled at another path, or a change that was cancelled is not a conflict.
#[test]
fn cancelling_says_what_was_cancelled() {
    let message = "the switch to green was cancelled".to_owned();
    let reply = || json(200, &CancelReply { service: samples::iris(), message: message.clone() });
    let admin = FakeAdmin::start(vec![reply(), reply()]);
    assert_eq!(typed(&admin.admin, "cancel iris").out, format!("{message}\n"));
    assert_eq!(typed(&admin.admin, "cancel iris green").code, 0);
    assert_eq!(admin.lines(), ["DELETE /v1/services/iris/change", "DELETE /v1/services/iris/slots/green/test"]);
    let cancelled = Problem::new(ProblemKind::Cancelled, "this switch was cancelled by cli bob");
    assert_eq!(answered(json(409, &cancelled), "switch iris").code, 4);
}

/// Fails when: in `commands::deploy`, `release` has a gate run besides the switch's own, or takes no generation along.
#[test]
fn a_release_waits_until_ready_and_has_the_gate_run_once() {
    let mut over = samples::switched();
    over.drain = Some(samples::drained());
    let mut events = passing(GatePurpose::Switch);
    events.push(moved());
    let admin = FakeAdmin::start(vec![
        json(200, &samples::replaced()),
        json(200, &status(EndpointHealth::Unknown)),
        json(200, &status(EndpointHealth::Unknown)),
        ready(),
        json(200, &over).after(&events).after_looks(1),
    ])
    .draining(&[samples::draining()]);
    let words = "deploy iris green --endpoint http://a:1 --grpc h2c://a:2 --endpoint http://b:1 --grpc h2c://b:2 \
                 --version v2 --switch --wait-drained --reason weekly --supersede --json";
    let ended = typed(&admin.admin, words);
    let look = "GET /v1/services/iris";
    let put = "PUT /v1/services/iris/slots/green";
    assert_eq!(admin.lines(), [put, look, look, look, "POST /v1/services/iris/switch"]);
    let update: SlotUpdate = serde_json::from_str(&admin.asked()[0].body).unwrap();
    assert_eq!((update.version.as_deref(), update.endpoints.len()), (Some("v2"), 2));
    assert!(update.supersede, "what is under way is in the way of new contents, too");
    let asked: SwitchRequest = serde_json::from_str(&admin.asked()[4].body).unwrap();
    assert_eq!((asked.to, asked.if_generation), (Some(Slot::Green), Some(7)), "only if nobody changed it meanwhile");
    assert_eq!((asked.wait, asked.reason.as_deref()), (Some(WaitFor::Drained), Some("weekly")));
    assert!(asked.supersede);
    assert_eq!(ended.out, format!("{}\n", serde_json::to_string(&over).unwrap()), "one document");
    assert_eq!(
        ended.err,
        "iris: green has new contents, generation 7 (http://a:1 (gRPC h2c://a:2), http://b:1 (gRPC h2c://b:2))\n\
         green: waiting for readiness: 0 of 1 endpoints; http://127.0.0.1:9002 (gRPC h2c://127.0.0.1:9003): refused\n\
         green: ready: 1 endpoint\n\
         green: switching, once it has passed its gate\n\
         waiting up to 10m for the slot that served before to drain\n\
         green: readiness passed (5ms)\n\
         green: golden passed (5ms)\n\
         green serves now, generation 8; blue drains\n\
         blue: 2 in flight (2 requests), the oldest for 1s\n"
    );
    assert_eq!(ended.code, 0);
}

/// Fails when: in `commands::deploy`, an ending of the switch does not become the ending of the release.
#[test]
fn a_release_ends_with_the_code_of_its_switch() {
    let conflict = || json(412, &Problem::new(ProblemKind::GenerationDiffers, "iris is at another generation"));
    let golden = || {
        let mut gate = samples::gate(false);
        gate.steps[0].name = "golden".into();
        gate
    };
    for (answer, code) in [
        (json(202, &samples::switched()), 3),
        (conflict(), 4),
        (refused(golden()), 2),
        (json(500, &Problem::new(ProblemKind::Internal, "the journal cannot be written")), 1),
    ] {
        let admin = FakeAdmin::start(vec![json(200, &samples::replaced()), ready(), answer]);
        let ended = typed(&admin.admin, "deploy iris green --endpoint http://a:1 --switch --wait-drained");
        assert_eq!((ended.code, admin.lines().len()), (code, 3), "{ended:?}");
        if code == 3 {
            let hint = "hint: not drained in time; to wait on: verdigris drain iris blue --wait\n";
            assert!(ended.out.ends_with(hint), "{}", ended.out);
        }
        assert_eq!(ended.err.contains("no traffic was moved to it"), code == 2, "{}", ended.err);
    }
}

/// Fails when: in `commands::deploy`, probes that were wrong are believed again, or the wait has no end.
#[test]
fn a_release_whose_probes_were_too_hopeful_waits_on() {
    let mut soon = status(EndpointHealth::Healthy);
    soon.slots.green.endpoints[0].probed_ms_ago = Some(0);
    let admin = FakeAdmin::start(vec![
        json(200, &samples::replaced()),
        ready(),
        refused(samples::gate(false)),
        ready(),
        json(200, &soon),
        json(200, &samples::switched()),
    ]);
    let ended = typed(&admin.admin, "deploy iris green --endpoint http://a:1 --switch");
    assert_eq!((ended.code, admin.lines().len()), (0, 6), "{ended:?}");
    assert!(ended.err.contains("green: not ready yet: http://127.0.0.1:9002: connection refused\n"), "{}", ended.err);
}

/// Fails when: in `commands::deploy`, a slot that is not ready in time is switched to, or it is not said why.
#[test]
fn a_deployment_that_is_never_ready_moves_no_traffic() {
    for words in ["--switch", ""] {
        let admin = FakeAdmin::start(vec![
            json(200, &samples::replaced()),
            json(200, &status(EndpointHealth::Unhealthy)),
            json(200, &samples::tested(false)),
        ]);
        let ended = typed(&admin.admin, &format!("deploy iris green --endpoint http://a:1 --wait-ready 0s {words}"));
        assert_eq!(ended.code, 2);
        let test = "POST /v1/services/iris/slots/green/test";
        assert_eq!(admin.lines()[1..], ["GET /v1/services/iris", test], "no switch");
        assert!(ended.out.contains("the gate of green failed\n  readiness failed"), "{}", ended.out);
        let why = "green: not ready within 0s; it keeps its new endpoints, but no traffic was moved to it\n";
        assert!(ended.err.ends_with(why), "{}", ended.err);
    }
}

/// Fails when: in `commands::deploy`, `stand_by` switches, shows no report, or does not wait for a busy service.
#[test]
fn a_deployment_leaves_the_slot_tested() {
    let busy = Problem::new(ProblemKind::Busy, "another change of service iris is under way");
    let fresh = || {
        let mut fresh = status(EndpointHealth::Healthy);
        fresh.slots.green.endpoints[0].probed_ms_ago = Some(0);
        json(200, &fresh)
    };
    let admin = FakeAdmin::start(vec![
        json(200, &samples::replaced()),
        ready(),
        json(409, &busy),
        fresh(),
        json(200, &samples::tested(true)).after(&passing(GatePurpose::Test)),
    ]);
    let ended = typed(&admin.admin, "deploy iris green --endpoint http://a:1");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("iris: the gate of green passed\n"), "{}", ended.out);
    assert!(
        ended.err.contains("green: waiting: another change") && ended.err.contains("golden passed"),
        "{}",
        ended.err
    );
    assert!(admin.lines().iter().all(|line| !line.ends_with("/switch")), "{:?}", admin.lines());
}

/// Fails when: in `commands::deploy`, a model that is ready and wrong is waited for.
#[test]
fn a_deployment_of_a_wrong_model_is_refused_at_once() {
    let mut wrong = samples::tested(false);
    wrong.gate.steps[0].name = "golden".into();
    let admin = FakeAdmin::start(vec![json(200, &samples::replaced()), ready(), json(200, &wrong)]);
    let ended = typed(&admin.admin, "deploy iris green --endpoint http://a:1");
    assert_eq!((ended.code, admin.lines().len()), (2, 3), "{ended:?}");
    assert!(ended.err.contains("green: ready, but its gate failed; it keeps its new endpoints"), "{}", ended.err);
}
