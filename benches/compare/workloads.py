"""What is measured side by side: CPU per request, in interleaved rounds."""

import statistics
from functools import partial
from typing import Callable, NamedTuple

from children import Trouble
from clients import Done, h2load, load, wrk
from stage import OURS, Proxy, Stage

# Streams of 100 tokens, 20 ms apart: two seconds each, begun anew until the time is over.
TOKENS = "/model/stream?tokens=100&every_ms=20"
REFERENCES = ("haproxy", "nginx")


class Workload(NamedTuple):
    """One row of the table."""

    name: str
    title: str
    target: str
    side: str
    run: Callable[[Stage, Proxy, int], Done]
    # The target is a ratio to this proxy alone; else, to the better of the two.
    beside: str | None = None


WORKLOADS = [
    Workload("small-get", "small GET, 64 connections", "1.00", "h1", partial(wrk, path="/small", connections=64)),
    Workload("small-post", "small POST, 64 connections", "1.00", "h1", partial(wrk, path="/small", connections=64, post="small")),
    Workload("answer-64k", "64 KiB answer", "1.00", "h1", partial(wrk, path="/files/64k", connections=32)),
    Workload("answer-1m", "1 MiB answer", "0.65", "h1", partial(wrk, path="/files/1m", connections=16)),
    Workload("request-1m", "1 MiB request", "0.85", "model", partial(wrk, path="/model/infer", connections=16, side="model", post="1m")),
    Workload(
        "connection", "connection per request", "1.00", "h1", partial(wrk, path="/small", connections=32, close=True)
    ),
    Workload(
        "h2-h1", "h2c in, HTTP/1.1 out", "1.10", "h2", partial(h2load, path="/small", side="h2", connections=8, streams=16)
    ),
    Workload(
        "h2-h2", "h2c in, h2c out", "1.00", "h2h2", partial(h2load, path="/h2c/small", side="h2h2", connections=8, streams=16)
    ),
    Workload("tls-get", "TLS 1.3 in, small GET", "1.00", "tls", partial(wrk, path="/small", connections=64, side="tls")),
    Workload(
        "handshake",
        "full TLS 1.3 handshake with one GET",
        "1.00",
        "tls",
        partial(load, command="handshakes", side="tls", path="/small", connections=16),
    ),
    Workload(
        "sse",
        "SSE, per token, 400 streams",
        "1.00",
        "model",
        partial(load, command="streams", side="model", path=TOKENS, streams=400),
        beside="haproxy",
    ),
]


class Figures(NamedTuple):
    """CPU microseconds per request: medians, and the medians of the rounds' ratios to the references."""

    micros: dict[str, float]
    ratios: dict[str, float]
    failed: dict[str, int]

    @property
    def ratio(self) -> float | None:
        """To the better reference."""
        return self.ratios.get(min(self.ratios, key=self.micros.__getitem__, default=""))


def side_by_side(stage: Stage, workload: Workload, proxies: list[Proxy], rounds: int, seconds: int, *, warm: bool) -> Figures:
    """A B C, A B C, …: a drift of the machine hits all alike."""
    costs: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    failed = dict.fromkeys(costs, 0)
    for proxy in proxies if warm else ():
        workload.run(stage, proxy, 1)
    for _ in range(rounds):
        for proxy in proxies:
            process = proxy.process(workload.side)
            before = process.cpu_seconds()
            done = workload.run(stage, proxy, seconds)
            if not done.count:
                raise Trouble(f"{workload.name}: {proxy.name} answered nothing\n{process.tail()}")
            costs[proxy.name].append((process.cpu_seconds() - before) / done.count * 1e6)
            failed[proxy.name] += done.failed
    medians = {name: statistics.median(values) for name, values in costs.items()}
    ratios = {name: _ratio(costs, name) for name in REFERENCES if name in costs and OURS in costs}
    return Figures(medians, ratios, failed)


def _ratio(costs: dict[str, list[float]], reference: str) -> float:
    return statistics.median(own / other for own, other in zip(costs[OURS], costs[reference], strict=True))
