"""What is not CPU per request: memory of idle connections, two workers, and latency near a switch and near a reload."""

import statistics
import time
from typing import Callable, NamedTuple

import admin
from children import Trouble
from clients import wrk
from many import Many
from processes import CORES, Child
from stage import OURS, Proxy, Stage

SWITCH_EVERY_SECONDS = 0.5
RELOAD_EVERY_SECONDS = 1.0


class Scale(NamedTuple):
    """How long and how much: a whole run, a quick one, a smoke test."""

    rounds: int
    seconds: int
    idle: int
    rest: int
    services: int
    switches: int
    reloads: int
    warm: bool


WHOLE = Scale(rounds=5, seconds=5, idle=5_000, rest=20, services=2_000, switches=40, reloads=10, warm=True)
QUICK = Scale(rounds=2, seconds=2, idle=2_000, rest=20, services=2_000, switches=10, reloads=5, warm=True)
SMOKE = Scale(rounds=1, seconds=1, idle=50, rest=1, services=20, switches=2, reloads=2, warm=False)


def idle_kib(stage: Stage, name: str, scale: Scale) -> float:
    """Resident KiB for each client connection that made one request and has been idle for `rest` seconds since: allocators
    give memory back with some delay. A process of its own, so that nothing that it did before hides what it needs."""
    proxy = Proxy(stage, name)
    process = proxy.process("h1")
    before = 0
    for count in (50, scale.idle):
        before = process.rss_kib()
        client = stage.client("idle", proxy.address("h1"), "path=/small", f"connections={count}")
        if client.line() != "ready":
            raise Trouble(f"{name}: the idle connections could not be opened")
        time.sleep(scale.rest)
        after = process.rss_kib()
        stage.end(client)
        time.sleep(0.5)
    proxy.end()
    return (after - before) / scale.idle


class Doubled(NamedTuple):
    """Requests a second with one worker and with two, CPU per request likewise, and client connections by worker."""

    rates: tuple[float, float]
    micros: tuple[float, float]
    spread: list[int]


def two_workers(stage: Stage, name: str, scale: Scale) -> Doubled:
    """One worker and two in turn, on all cores, under the same load."""
    proxies = [Proxy(stage, name, workers=workers, cores=CORES) for workers in (1, 2)]
    rates: tuple[list[float], list[float]] = ([], [])
    micros: tuple[list[float], list[float]] = ([], [])
    spread: list[int] = []
    for _ in range(scale.rounds):
        for index, proxy in enumerate(proxies):
            process = proxy.process("h1")
            before = process.cpu_seconds()
            done = wrk(stage, proxy, scale.seconds, path="/small", connections=64)
            rates[index].append(done.count / scale.seconds)
            micros[index].append((process.cpu_seconds() - before) / max(done.count, 1) * 1e6)
    if name == OURS:
        client = stage.client("idle", proxies[1].address("h1"), "path=/small", "connections=64")
        client.line()
        spread = admin.connections_by_worker(proxies[1].admin)
        stage.end(client)
    for proxy in proxies:
        proxy.end()
    return Doubled(
        (statistics.median(rates[0]), statistics.median(rates[1])),
        (statistics.median(micros[0]), statistics.median(micros[1])),
        spread,
    )


class Bump(NamedTuple):
    """What a steady load saw near something that happened, and far from it; microseconds. `took` is in milliseconds."""

    took: list[float]
    near: dict[str, int]
    far: dict[str, int]
    done: int
    failed: int


def switches(stage: Stage, scale: Scale) -> Bump:
    """Switches back and forth under 1,000 requests a second."""
    many = Many(stage, services=1, endpoints=1)
    many.wait_until_healthy()

    def switch(turn: int) -> float:
        to = {"to": ("green", "blue")[turn % 2], "reason": "comparison"}
        return admin.timed(many.admin, "POST", "/v1/services/model-0/switch", to)

    return _while_loaded(stage, many, scale.switches, SWITCH_EVERY_SECONDS, switch)


def reloads(stage: Stage, scale: Scale, *, all_services: bool) -> Bump:
    """Reloads a file of many services with four endpoints each, under 1,000 requests a second."""
    many = Many(stage, scale.services, endpoints=2)
    many.wait_until_healthy()

    def prepare(turn: int) -> None:
        many.prepare(f"turn-{turn}", all_services=all_services)

    def reload(_turn: int) -> float:
        many.put()
        return admin.timed(many.admin, "POST", "/v1/config/reload")

    return _while_loaded(stage, many, scale.reloads, RELOAD_EVERY_SECONDS, reload, prepare)


def _while_loaded(
    stage: Stage,
    many: Many,
    times: int,
    every: float,
    happen: Callable[[int], float],
    prepare: Callable[[int], None] = lambda _turn: None,
) -> Bump:
    seconds = times * (every + 0.3) + 2
    options = [f"path={many.path(0)}", "rate=1000", f"seconds={seconds}", "connections=32", "body={}"]
    client = stage.client("steady", many.address(), *options, cores=CORES)
    client.line()
    time.sleep(1)
    took = []
    for turn in range(times):
        prepare(turn)
        time.sleep(0.2)  # what it cost is over before the next window begins
        took.append(_marked(client, happen, turn, every))
    result = client.result()
    stage.end(client)
    many.end()
    return Bump(took, result["near"], result["far"], result["done"], result["failed"])


def _marked(client: Child, happen: Callable[[int], float], turn: int, every: float) -> float:
    """Tells the load when it begins and ends, and waits for the next turn."""
    due = time.monotonic() + every
    client.say("begin")
    took = happen(turn)
    client.say("end")
    time.sleep(max(0.0, due - time.monotonic()))
    return took
