"""Blue-green switching between two real model servers, under load from the clients that people use.

Two MLServer processes serve two versions of a scikit-learn model over HTTP and gRPC; the load is tritonclient (blocking
and asyncio), plain keep-alive connections, and streams of tokens; the switching is the command line. Run it by
`tests/real/run`, which brings the Python packages.
"""

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple

from children import Ports, Trouble
import gated
from generator import Load
from model_server import ModelServer
from records import Change, Record, judge
from report import Report
from switcher import REFUSED, Reply, Verdigris
from training import Trained, train

VERSIONS = {"blue": "v1", "green": "v2"}
CHANGES = 24
STORM_SECONDS = 30
READY_SECONDS = 20
EXIT_SECONDS = 20


class Stage(NamedTuple):
    """Everything that the chapters play with."""

    report: Report
    trained: Trained
    directory: Path
    blue: ModelServer
    green: ModelServer

    def load(self, name: str, upon: Verdigris | ModelServer) -> Load:
        proxied = isinstance(upon, Verdigris)
        return Load(name, upon.http_url, upon.grpc_url, self.trained.answers, self.directory, proxied=proxied)


def control(stage: Stage) -> None:
    """Without a proxy: an undisturbed server loses nothing, and the load notices when one is stopped.

    The second half is what makes every "0 failed" further down worth something.
    """
    report = stage.report
    report.chapter("control: the load against one model server, no proxy")
    report.say(f"accuracy {stage.trained.accuracy}, the versions disagree on {stage.trained.disagreements} of 150 flowers")
    report.check("the two versions can be told apart by what they say", stage.trained.disagreements > 0)
    report.say(f"MLServer ready after {stage.blue.start():.1f} s")
    with stage.load("control", stage.blue) as load:
        load.flow(2)
    report.judge(load.records, [], "v1")
    with stage.load("control-stop", stage.blue) as load:
        load.flow(1)
        report.check("MLServer ends on SIGTERM", (code := stage.blue.terminate()) == 0, f"exit code {code}")
        load.flow(0.5)
    failed = judge(load.records, [], "v1").failed
    report.check("the load notices that a server without a proxy is stopped", len(failed) > 0)
    for protocol in ("http", "grpc"):
        noticed = any(record.error for record in load.records if protocol in record.kind)
        report.check(f"the {protocol} load notices it", noticed)


def refusals(stage: Stage, proxy: Verdigris) -> None:
    """P3: green is refused while its port is closed, and while its port is open but the model is still loading."""
    report = stage.report
    report.chapter("a slot that has not proven itself is refused")
    stage.blue.start()
    report.check("the generated configuration is accepted", (reply := proxy.check()).code == 0, reply)
    report.say(f"verdigris ready after {proxy.start():.2f} s")
    report.check("blue is active", (state := proxy.state()).active == "blue", state)
    _refused(report, proxy, "green", "nothing listens there")
    stage.green.start_loading()
    status = stage.green.http_status("/v2/models/iris/ready")
    report.check("MLServer's port is open and says 400 while the model loads", status == 400, status)
    _refused(report, proxy, "green", "the model is still loading")
    stage.green.finish_loading()
    reply, refusals_before = _when_ready(proxy, "green")
    report.check("green is accepted once its model is loaded", reply.code == 0, reply)
    report.say(f"accepted after {refusals_before} more refusals, in {reply.returned - reply.called:.2f} s")
    report.check("green is active", (state := proxy.state()).active == "green", state)
    report.check("rollback leads back to blue", (reply := proxy.run("rollback", "iris")).code == 0, reply)
    report.check("blue is active again", (state := proxy.state()).active == "blue", state)


def storm(stage: Stage, proxy: Verdigris) -> None:
    """P1, P2: many switches and rollbacks under load; then the old model server is stopped for real."""
    report, changes = stage.report, []
    report.chapter(f"{CHANGES} switches and rollbacks under load, then blue is stopped")
    with stage.load("storm", proxy) as load:
        before = proxy.state()
        changes += _change_often(stage, proxy, load)
        after = proxy.state()
        raised = after.generation - before.generation
        report.check(f"{CHANGES} changes raised the generation by {CHANGES}", raised == CHANGES, f"{before} → {after}")
        if proxy.state().active == "green":
            changes.append(_change(report, proxy, "switch", "iris", "--to", "blue"))
        changes.append(_change(report, proxy, "switch", "iris", "--to", "green", "--wait-drained"))
        took = changes[-1].returned - changes[-1].called
        drain = proxy.get("/v1/services/iris/slots/blue/drain")
        report.check(f"blue is drained and safe to delete, after {took:.2f} s", drain["safe_to_delete"] is True, drain)
        report.check("`verdigris drain` says so too", (reply := proxy.run("drain", "iris", "blue")).code == 0, reply)
        report.check("blue's MLServer ends on SIGTERM", (code := stage.blue.terminate()) == 0, f"exit code {code}")
        load.flow(3)
    _judge_storm(report, load.records, changes)


def crash(stage: Stage, proxy: Verdigris) -> None:
    """After kill -9 the recorded slot serves, although the file still names the other one; no journal line is lost."""
    report = stage.report
    report.chapter("verdigris is killed and started again")
    before, history = proxy.state(), proxy.get("/v1/services/iris/history")["entries"]
    proxy.kill()
    report.say(f"verdigris ready after {proxy.start():.2f} s")
    after = proxy.state()
    report.check("the recorded slot and generation are kept", after == before, f"{before} → {after}")
    kept = proxy.get("/v1/services/iris/history")["entries"]
    report.check(f"all {len(history)} journal entries are kept", history == kept[-len(history) :], _first_difference(history, kept))
    with stage.load("after-crash", proxy) as load:
        load.flow(2)
    report.judge(load.records, [], "v2")


def lost_standby(stage: Stage, proxy: Verdigris) -> None:
    """A standby that died is refused under load, and nothing changes; the dead standby costs no request."""
    report, changes = stage.report, []
    report.chapter("back to blue; green's model server is killed and refused")
    stage.blue.start()
    with stage.load("lost-standby", proxy) as load:
        reply, _ = _when_ready(proxy, "blue", "--wait-drained")
        report.check("blue, started again, is accepted", reply.code == 0, reply)
        changes.append(Change("v1", reply.called, reply.returned))
        stage.green.kill()
        _refused(report, proxy, "green", "its model server was killed")
        load.flow(2)
    report.judge(load.records, changes, "v2")


def golden(stage: Stage, proxy: Verdigris, poor: ModelServer) -> None:
    """P3: a green that is ready but worse is refused by its golden requests, under load; the better one is accepted."""
    report, green = stage.report, stage.green
    report.chapter("a worse model is refused by its golden requests, a better one is accepted")
    poor.start()
    green.start()
    report.check("the configuration is accepted", (reply := proxy.check()).code == 0, reply)
    proxy.start()
    with stage.load("golden", proxy) as load:
        reply = proxy.run("test", "iris", "green")
        report.check(f"`verdigris test` finds the worse model wrong, exit code {REFUSED}", reply.code == REFUSED, reply)
        report.check("every endpoint says it is ready", "readiness passed" in reply.stdout, reply)
        report.say(reply.stdout.strip().replace("\n", "\n     "))
        _refused(report, proxy, "green", "its golden requests say that it is worse")
        called = time.monotonic()
        reply = proxy.run(
            *("deploy", "iris", "green", "--endpoint", green.http_url, "--grpc", green.grpc_url),
            *("--version", green.version, "--switch", "--wait-drained"),
        )
        report.check("`verdigris deploy --switch --wait-drained` of the better one", reply.code == 0, reply)
        changes = [Change(green.version, called, reply.returned)]
        report.say((reply.stderr + reply.stdout).strip().replace("\n", "\n     "))
        load.flow(1)
        reply = proxy.run("test", "iris", "green")
        report.check("its gate passes", reply.code == 0, reply)
        report.say(reply.stdout.strip().replace("\n", "\n     "))
    report.judge(load.records, changes, "v1")


def goodbye(stage: Stage, proxy: Verdigris) -> None:
    """SIGTERM ends an idle proxy cleanly."""
    stage.report.chapter("goodbye")
    code = proxy.terminate(EXIT_SECONDS)
    stage.report.check("verdigris ends on SIGTERM with exit code 0", code == 0, f"exit code {code}\n{proxy.tail()}")
    code = stage.blue.terminate()
    stage.report.check("nothing holds the model server up when it is stopped", code == 0, f"exit code {code}")


def _change_often(stage: Stage, proxy: Verdigris, load: Load) -> list[Change]:
    """Alternates switch and rollback at uneven times, some at once after another, about STORM_SECONDS in all."""
    pause, changes = random.Random(7), []
    for number in range(CHANGES):
        target = "green" if number % 2 == 0 else "blue"
        how = ["rollback", "iris"] if number % 3 == 2 else ["switch", "iris", "--to", target]
        changes.append(_change(stage.report, proxy, *how, expect=target, quiet=True))
        load.flow(pause.choice([0.0, 0.5, 1.5, 3.0]) * STORM_SECONDS / CHANGES / 1.25)
    slow = max(change.returned - change.called for change in changes)
    stage.report.check(f"{CHANGES} changes were accepted; the slowest took {slow:.2f} s", True)
    return changes


def _change(report: Report, proxy: Verdigris, *command: str, expect: str = "", quiet: bool = False) -> Change:
    """A change that must be accepted; without it the rest of the chapter would mean nothing."""
    reply = proxy.run(*command)
    active = proxy.state().active
    expect = expect or command[command.index("--to") + 1]
    if reply.code != 0 or active != expect:
        raise Trouble(f"{reply}\n{active} is active, {expect} was expected\n{proxy.tail()}")
    if not quiet:
        report.check(f"`verdigris {reply.command}` was accepted", True)
    return Change(VERSIONS[expect], reply.called, reply.returned)


def _refused(report: Report, proxy: Verdigris, slot: str, why: str) -> None:
    """A switch to that slot must exit with 2, and change nothing."""
    before = proxy.state()
    reply = proxy.run("switch", "iris", "--to", slot)
    after = proxy.state()
    report.check(f"a switch to {slot} is refused with exit code {REFUSED}: {why}", reply.code == REFUSED, reply)
    report.check("nothing changed", before == after, f"{before} → {after}")


def _when_ready(proxy: Verdigris, slot: str, *options: str) -> tuple[Reply, int]:
    """Switches as soon as the proxy believes in the slot; gives the last reply and the number of refusals before it."""
    begin, refusals_before = time.monotonic(), 0
    while (reply := proxy.run("switch", "iris", "--to", slot, *options)).code == REFUSED:
        if time.monotonic() - begin > READY_SECONDS:
            break
        refusals_before += 1
        time.sleep(0.1)
    return reply, refusals_before


def _judge_storm(report: Report, records: list[Record], changes: list[Change]) -> None:
    verdict = report.judge(records, changes, "v1")
    for protocol in ("http", "grpc", "sse"):
        of = {version for kind, version in verdict.seen if protocol in kind}
        report.check(f"both versions were seen over {protocol}", {"v1", "v2"} <= of, of)
    report.check(f"{verdict.spanning} requests were in flight during a change", verdict.spanning >= len(changes))
    other = {"v1": "v2", "v2": "v1"}
    turned = judge(records, [change._replace(version=other[change.version]) for change in changes], "v2")
    report.check(
        "the judge objects to the same answers if the versions of the changes are exchanged",
        len(turned.misplaced) > len(records) // 2,
        f"{len(turned.misplaced)} objections to {len(records)} answers",
    )


def _first_difference(before: list[dict], after: list[dict]) -> str:
    """Where two histories, newest first, part."""
    pairs = zip(reversed(before), reversed(after))
    return next((f"{old} → {new}" for old, new in pairs if old != new), f"{len(before)} entries → {len(after)}")


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A directory that goes if all is well, and stays for reading if not."""
    directory = Path(tempfile.mkdtemp(prefix="verdigris-real-"))
    try:
        yield directory
    except BaseException:
        print(f"logs are in {directory}", file=sys.stderr)
        raise
    shutil.rmtree(directory)


def play(binary: Path | None) -> None:
    """All chapters, or the control alone without a binary. Exits with 1 unless everything held."""
    report = Report()
    with _scratch() as directory, contextlib.ExitStack() as cleanup:
        trained, ports = train(directory / "models"), Ports()
        blue, green, poor = (
            ModelServer(name, version, trained.repositories[version], directory, ports)
            for name, version in (("blue", "v1"), ("green", "v2"), ("poor", "v0"))
        )
        for server in (blue, green, poor):
            cleanup.callback(server.kill)
        stage = Stage(report, trained, directory, blue, green)
        try:
            control(stage)
            if binary is not None:
                proxy = Verdigris(binary, blue, green, directory, ports)
                cleanup.callback(proxy.kill)
                for chapter in (refusals, storm, crash, lost_standby):
                    chapter(stage, proxy)
                with gated.proxy(binary, blue, poor, trained.answers, directory, ports) as guarded:
                    golden(stage, guarded, poor)
                goodbye(stage, proxy)
        except Trouble as trouble:
            report.check("the run came to its end", False, trouble)
        if not report.close():
            # From in here, so that the logs stay.
            sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--binary", type=lambda text: Path(text).resolve(), help="the verdigris to test")
    what.add_argument("--control-only", action="store_true", help="only the load against a model server, without a proxy")
    given = parser.parse_args()
    # A polite end from outside takes the same way out as an error, so that the children end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    play(given.binary)


if __name__ == "__main__":
    main()
