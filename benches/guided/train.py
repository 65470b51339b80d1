"""What a guided build learns from: a minute of what a proxy does, without the proxies that it is compared with.

First the rows of the comparison, then what they leave out: gRPC, HTTP/2 over TLS, TLS
to the servers, an access log, edited heads, two workers and two endpoints, WebSockets, bodies whose length is not told,
errors, switches and reloads. Nothing is measured; what is not answered as it should be fails the training, since a build
that has learnt from mistakes is made for them.
"""

import argparse
import sys
from functools import partial
from typing import Callable

import admin
import alone
from children import Trouble
from clients import SMALL, Done, h2load, load, wrk
from stage import OURS, Proxy, Stage, on_stage
from talk import Talker, chunked_uploads, web_socket
from workloads import WORKLOADS

# The compiler takes as hot what makes up 99 % of all counts, however dear or cheap. So a load is played by the second until it
# has come to so many answers, and the shares are much the same on a slow or busy machine; there it ends after RUNS_MAX.
SECONDS = 1
RUNS_MAX = 20
ENOUGH = 40_000
ENOUGH_OF = {"answer-64k": 10_000, "answer-1m": 2_000, "request-1m": 2_000, "connection": 80_000, "handshake": 5_000}
# Tokens come quicker than in the comparison: there a minute would not do.
TOKENS = "/model/stream?tokens=250&every_ms=4"
TOKENS_ENOUGH = 150_000
# One in a hundred may fail: a load ends in the midst of its last requests.
FAILED_MAX = 0.01
METHOD = "/inference.GRPCInferenceService/ModelInfer"
ROUNDS = 3_000


class Furnished:
    """A Verdigris with what is off by default, in front of the same origins and of the one that speaks TLS."""

    def __init__(self, stage: Stage, plain: Proxy, talker: Talker) -> None:
        self._stage = stage
        self.port, self.admin = stage.ports.take(), stage.ports.take()
        values = {"listen": self.port, "admin": self.admin, "nobody": stage.ports.take(), "talker": talker.port}
        config = stage.render("furnished.toml", tls=plain.port["tls"], **values)
        self._process = stage.start(OURS, [stage.binary, "run", "--config", str(config)], self.port)
        self._process.wait_for_port(self.admin)

    def address(self, _side: str) -> str:
        return f"127.0.0.1:{self.port}"

    def end(self) -> None:
        self._stage.end(self._process)


def play(stage: Stage) -> None:
    """Everything, in order."""
    plain = Proxy(stage, OURS)
    for workload in WORKLOADS:
        _train(workload.title, partial(workload.run, stage, plain, SECONDS), ENOUGH_OF.get(workload.name, ENOUGH))
    tokens = {"command": "streams", "side": "model", "path": TOKENS, "streams": 100}
    _train("SSE, quicker", partial(load, stage, plain, SECONDS, **tokens), TOKENS_ENOUGH)
    question = stage.directory / "question"
    question.write_text(SMALL)
    h2 = partial(h2load, stage, connections=8, streams=16)
    json = ("-d", str(question), "-H", "content-type: application/json")
    _train("h2c in, a POST", partial(h2, plain, SECONDS, path="/small", side="h2", more=json))
    _train("HTTP/2 over TLS", partial(h2, plain, SECONDS, path="/small", side="tls"))
    with Talker() as talker:
        furnished = Furnished(stage, plain, talker)
        _train_furnished(stage, furnished, partial(h2, furnished, SECONDS, side="h2"), question)
        furnished.end()
    plain.end()
    _train_changes(stage)


def _train_furnished(stage: Stage, proxy: Furnished, h2: Callable[..., Done], question: object) -> None:
    h1 = partial(wrk, stage, proxy, connections=64)
    grpc = ("-d", str(question), "-H", "content-type: application/grpc", "-H", "te: trailers")
    _train("edited heads, access log, two workers", partial(h1, SECONDS, path="/edited/small"))
    _train("the same with bodies", partial(h1, SECONDS, path="/edited/small", post="small"))
    _train("TLS to the server", partial(h1, SECONDS, path="/secured/small"))
    _train("gRPC", partial(h2, path=METHOD, more=grpc))
    few = partial(wrk, stage, proxy, SECONDS, connections=1)  # as rare as they are among what goes well
    _train("no such service", partial(few, path="/nobody-knows"), 1, failing=True)
    _train("a server that is away", partial(few, path="/away/small"), 1, failing=True)
    _train("WebSocket", partial(web_socket, proxy.port, "/talks/socket", ROUNDS), ROUNDS)
    _train("bodies whose length is not told", partial(chunked_uploads, proxy.port, "/talks/upload", ROUNDS), ROUNDS)
    for _ in range(5):
        admin.ask(proxy.admin, "GET", "/metrics")
        admin.ask(proxy.admin, "GET", "/v1/services")


def _train_changes(stage: Stage) -> None:
    for bump in (
        alone.switches(stage, alone.SMOKE),
        alone.reloads(stage, alone.SMOKE, all_services=False),
        alone.reloads(stage, alone.SMOKE, all_services=True),
    ):
        _check("switches and reloads", Done(bump.done, bump.failed), failing=False)


def _train(title: str, run: Callable[[], Done], enough: int = ENOUGH, *, failing: bool = False) -> None:
    done = Done(0, 0)
    for _ in range(RUNS_MAX):
        more = run()
        done = Done(done.count + more.count, done.failed + more.failed)
        if done.count >= enough:
            break
    _check(title, done, failing=failing)


def _check(title: str, done: Done, *, failing: bool) -> None:
    print(f"{done.count:9,}  {title}", flush=True)
    wrong = done.count - done.failed if failing else done.failed
    if not done.count or wrong > FAILED_MAX * done.count:
        expected = "not to be answered with 2xx" if failing else "to be answered"
        raise Trouble(f"{title}: {wrong} of {done.count} were {expected}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--load", required=True)
    arguments = parser.parse_args()
    return on_stage("training", arguments.binary, arguments.load, None, play)


if __name__ == "__main__":
    sys.exit(main())
