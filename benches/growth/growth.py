"""What Verdigris costs as work grows, one Markdown table for each kind of work. `run`, beside this file, brings what it needs.

What is looked for is the shape: a column that must not grow with the first one and does is a defect.
"""

import argparse
import sys
import time
from typing import Callable

import admin
import machine
from clients import wrk
from many import Many
from processes import Child
from stage import OURS, Proxy, Stage, on_stage

SECONDS = 3
REST = 20  # an allocator gives memory back with some delay
KIB = 1024
BODIES = [0, 1, 64, KIB, 16 * KIB, 100 * KIB]


def main() -> int:
    arguments = _arguments()

    def play(stage: Stage) -> None:
        print("\n".join(machine.lines(stage, [OURS])))
        for name in arguments.only:
            KINDS[name](stage, arguments.most)

    return on_stage("growth", arguments.binary, arguments.load, None, play)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/growth/run", description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(KINDS), metavar="KIND,…", help=", ".join(KINDS))
    parser.add_argument("--most", type=int, default=1 << 30, metavar="N", help="of anything (of bodies: KiB)")
    parser.add_argument("--binary", default="", metavar="PATH", help="of Verdigris; the release binary by default")
    parser.add_argument("--load", required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if wrong := set(arguments.only) - set(KINDS):
        parser.error(f"unknown: {', '.join(wrong)}; known: {', '.join(KINDS)}")
    return arguments


def services(stage: Stage, most: int) -> None:
    """Each with an endpoint in each slot."""
    _head("services", *MANY)
    for count in _up_to(most, 1, 10, 100, 1_000, 10_000):
        _row(count, *_of_many(stage, services=count, endpoints=1))


def endpoints(stage: Stage, most: int) -> None:
    """Of each slot of one service."""
    _head("endpoints", *MANY)
    for count in _up_to(most, 1, 10, 100, 1_000):
        _row(count, *_of_many(stage, services=1, endpoints=count))


MANY = (
    "start until healthy, s", "CPU µs per small GET", "CPU while idle, %", "RSS, MiB", "switch, ms", "reload, ms", "all changed, ms",
    "GET /metrics, ms",
)  # fmt: skip


def _of_many(stage: Stage, services: int, endpoints: int) -> list[float]:
    begin = time.monotonic()
    many = Many(stage, services, endpoints)
    many.wait_until_healthy()
    start = time.monotonic() - begin
    middle = services // 2
    rss = many.process.rss_kib() / KIB
    idle = _busy(many.process, lambda: time.sleep(SECONDS)) / SECONDS * 100
    # What probing costs meanwhile is not the requests'.
    done, busy = 0, 0.0

    def ask() -> None:
        nonlocal done
        done = wrk(stage, many, SECONDS, path=many.path(middle), connections=64).count

    busy = _busy(many.process, ask) - idle / 100 * SECONDS
    switch = _least(lambda turn: _switch(many, middle, turn))
    reload = _least(lambda turn: _reload(many, turn, all_services=False))
    reload_all = _least(lambda turn: _reload(many, turn, all_services=True))
    metrics = _least(lambda _: admin.timed(many.admin, "GET", "/metrics"))
    many.end()
    return [start, busy / max(done, 1) * 1e6, idle, rss, switch, reload, reload_all, metrics]


def _switch(many: Many, service: int, turn: int) -> float:
    to = {"to": ("green", "blue")[turn % 2]}
    return admin.timed(many.admin, "POST", f"/v1/services/model-{service}/switch", to)


def _reload(many: Many, turn: int, *, all_services: bool) -> float:
    many.write(f"turn-{turn}-{all_services}", all_services=all_services)
    return admin.timed(many.admin, "POST", "/v1/config/reload")


def connections(stage: Stage, most: int) -> None:
    """Idle ones, beside 64 that work; memory is what they hold after a rest."""
    _head("idle connections", "RSS KiB per connection", "CPU while idle, %", "CPU µs per small GET beside them")
    for count in _up_to(most, 10, 100, 1_000, 5_000, 15_000):
        proxy = Proxy(stage, OURS)
        process = proxy.process("h1")
        wrk(stage, proxy, 1, path="/small", connections=64)
        before = process.rss_kib()
        client = stage.client("idle", proxy.address("h1"), "path=/small", f"connections={count}")
        client.line()
        time.sleep(REST)
        idle = _busy(process, lambda: time.sleep(SECONDS)) / SECONDS * 100
        each = (process.rss_kib() - before) / count
        _row(count, each, idle, _per_request(stage, proxy, "h1", "/small", 64))
        stage.end(client)
        proxy.end()


def streams(stage: Stage, most: int) -> None:
    """About 10,000 tokens a second in all, whatever the number of streams."""
    _head("streams", "CPU µs per token", "RSS, MiB")
    for count in _up_to(most, 10, 100, 1_000, 5_000):
        every_ms = max(1, count // 10)
        proxy = Proxy(stage, OURS)
        process = proxy.process("model")
        path = f"/model/stream?tokens=1000000&every_ms={every_ms}"
        client = stage.client("hold", proxy.address("model"), f"path={path}", f"streams={count}")
        client.line()
        time.sleep(1)
        busy = _busy(process, lambda: time.sleep(SECONDS))
        _row(count, busy / (count * SECONDS * 1_000 / every_ms) * 1e6, process.rss_kib() / KIB)
        stage.end(client)
        proxy.end()


def bodies(stage: Stage, most: int) -> None:
    """Of answers and of requests, in KiB."""
    _head("body, KiB", "CPU µs per answer", "RSS, MiB", "CPU µs per request body", "RSS, MiB")
    for size in _up_to(most, *BODIES):
        (stage.directory / "files" / f"{size}k").write_bytes(bytes(size * KIB))
        script = stage.directory / f"post-{size}k.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {size * KIB})\n')
        cells = []
        for side, path, post in (("h1", f"/files/{size}k", ""), ("model", "/model/infer", f"{size}k")):
            proxy = Proxy(stage, OURS)
            cost = _per_request(stage, proxy, side, path, 4, post=post)
            cells += [cost, proxy.process(side).rss_kib() / KIB]
            proxy.end()
        _row(size, *cells)


def _per_request(stage: Stage, proxy: Proxy, side: str, path: str, connections: int, post: str = "") -> float:
    process = proxy.process(side)
    done = 0

    def ask() -> None:
        nonlocal done
        done = wrk(stage, proxy, SECONDS, path=path, connections=connections, side=side, post=post).count

    return _busy(process, ask) / max(done, 1) * 1e6


def _busy(process: Child, meanwhile: Callable[[], None]) -> float:
    """CPU seconds that the process spends meanwhile."""
    before = process.cpu_seconds()
    meanwhile()
    return process.cpu_seconds() - before


def _least(measure: Callable[[int], float]) -> float:
    """Of three: what the machine does besides only adds."""
    return min(measure(turn) for turn in range(3))


def _up_to(most: int, *counts: int) -> list[int]:
    return [count for count in counts if count <= most]


def _head(*titles: str) -> None:
    print(f"\n| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|", flush=True)


def _row(count: int, *cells: float) -> None:
    print(f"| {count:,} | " + " | ".join(f"{cell:,.1f}" for cell in cells) + " |", flush=True)


KINDS = {
    "services": services,
    "endpoints": endpoints,
    "connections": connections,
    "streams": streams,
    "bodies": bodies,
}

if __name__ == "__main__":
    sys.exit(main())
