"""What the warm-up saves: the first 1,000 requests after a switch to a server that has just been started.

    python3 benches/warm_up/run.py [--binary target/release/verdigris] [--rounds 3]

The server answers in 5 ms, but its first 50 inferences take 300 ms each. 16 clients with a connection each ask all the
time; green is started anew for each measurement, and those with and without warm-up take turns. Needs Python 3.10,
nothing else. Prints a table of times in milliseconds, over all rounds and for each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COLD_INFERENCES, COLD_S, WARM_S = 50, 0.300, 0.005
CLIENTS, FIRST = 16, 1_000
BODY = b'{"inputs": []}'
GOLDEN = '{"name": "infer", "request": {"path": "/v2/models/m/infer", "json": {"inputs": []}}, "expect": {}}\n'


class Sample(NamedTuple):
    """A request of a user: when it began, what it took, and whether green answered it."""

    began: float
    took: float
    is_green: bool


class Server:
    """A model server in this process: HTTP/1.1, one inference for each request but the probes."""

    def __init__(self, cold: int) -> None:
        self.cold, self.cold_for_users = cold, 0

    async def start(self) -> Server:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: *(\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"post"):
                    await self.infer(b"verdigris-gate" in head)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
        writer.close()

    async def infer(self, is_gate: bool) -> None:
        is_cold = self.cold > 0
        self.cold -= is_cold
        self.cold_for_users += is_cold and not is_gate
        await asyncio.sleep(COLD_S if is_cold else WARM_S)


async def client(port: int, samples: list[Sample], stop: asyncio.Event) -> None:
    """Asks until told to stop."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: m\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
    while not stop.is_set():
        began = time.perf_counter()
        writer.write(head + BODY)
        answer = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: *(\d+)", answer.lower())[1]))
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"a request failed: {answer!r}")
        samples.append(Sample(began, time.perf_counter() - began, b"x-verdigris-slot: green" in answer.lower()))
    writer.close()


@contextlib.asynccontextmanager
async def proxy(binary: Path, blue: Server, green: Server, warm_up: str):
    """A proxy with its files in a directory of its own; its two ports."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        ports = [free_port(), free_port()]
        (directory / "golden.jsonl").write_text(GOLDEN)
        (directory / "verdigris.toml").write_text(f"""version = 1
[proxy]
listen = "127.0.0.1:{ports[0]}"
[admin]
listen = "127.0.0.1:{ports[1]}"
[log]
filter = "error"
[[service]]
name = "m"
active = "blue"
[service.blue]
endpoints = ["http://127.0.0.1:{blue.port}"]
[service.green]
endpoints = ["http://127.0.0.1:{green.port}"]
[service.health]
path = "/v2/health/ready"
[service.gate]
golden = "golden.jsonl"
warm_up = "{warm_up}"
""")
        process = subprocess.Popen([binary, "run", "--config", directory / "verdigris.toml"])
        try:
            await listening(ports)
            yield ports
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def listening(ports: list[int]) -> None:
    for port in ports:
        for _ in range(1_000):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.01)
        else:
            sys.exit(f"nothing listens on port {port}")


async def switch(binary: Path, port: int) -> None:
    command = [binary, "--admin", f"http://127.0.0.1:{port}", "switch", "m", "--to", "green", "--json"]
    done = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.PIPE)
    said, _ = await done.communicate()
    if done.returncode != 0:
        sys.exit(f"the switch failed: {said.decode()}")


async def measure(binary: Path, warm_up: str) -> tuple[list[float], float, int]:
    """Seconds of the first requests that green answered, what the switch took, cold inferences of users."""
    blue, green = await Server(0).start(), await Server(COLD_INFERENCES).start()
    samples: list[Sample] = []
    stop = asyncio.Event()
    async with proxy(binary, blue, green, warm_up) as (port, admin):
        clients = [asyncio.create_task(client(port, samples, stop)) for _ in range(CLIENTS)]
        await asyncio.sleep(1)
        began = time.perf_counter()
        await switch(binary, admin)
        switch_s = time.perf_counter() - began
        while sum(sample.is_green for sample in samples) < FIRST + CLIENTS:
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*clients)
    first = sorted(sample for sample in samples if sample.is_green)[:FIRST]
    return [sample.took for sample in first], switch_s, green.cold_for_users


def quantiles(took: list[float]) -> list[float]:
    ordered = sorted(took)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000
    return [at(0.50), at(0.99), ordered[-1] * 1_000]


def row(name: str, took: list[float], switch_s: float, cold: int) -> None:
    p50, p99, most = quantiles(took)
    print(f"| {name} | {p50:.1f} | {p99:.1f} | {most:.1f} | {cold} | {switch_s:.2f} |")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/verdigris")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.binary.exists():
        sys.exit(f"{options.binary} is not there: cargo build --release")
    kinds = {"with warm-up": "30s", "without": "0s"}
    every: dict[str, list] = {name: [] for name in kinds}
    print("| | p50 ms | p99 ms | max ms | cold inferences that users met | switch s |\n|---|---|---|---|---|---|")
    for number in range(options.rounds):
        for name, warm_up in kinds.items():
            result = await measure(options.binary.resolve(), warm_up)
            every[name].append(result)
            row(f"round {number + 1}, {name}", *result)
    for name, results in every.items():
        took = [one for result in results for one in result[0]]
        switch_s = sorted(result[1] for result in results)[len(results) // 2]
        row(f"**{name}**, all rounds", took, switch_s, sum(result[2] for result in results))


if __name__ == "__main__":
    asyncio.run(main())
