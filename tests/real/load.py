"""A process of load: workers that ask without pause until standard input ends, and then write down what they saw.

It is a process of its own so that the load and the switching do not share one interpreter lock, and so that each
protocol's clients have an interpreter to themselves.
"""

import argparse
import asyncio
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Callable

from records import Record, write_records
from target import Answer, Target

THINK_SECONDS = 0.01


class Notebook:
    """Where the workers of this process write, and how the process learns that all of them are under way."""

    def __init__(self, workers: int, rows: int) -> None:
        self.stop, self.under_way = threading.Event(), threading.Event()
        self.records: list[Record] = []
        self._missing, self._rows, self._lock = workers, rows, threading.Lock()

    def write(self, kind: str, begin: float, answer: Answer | None, error: Exception | None) -> None:
        end = time.monotonic()
        version, first = answer or (None, None)
        text = None if error is None else f"{type(error).__name__}: {str(error)[:300]}"
        self.records.append(Record(kind, begin, first or end, end, version, text))

    def arrive(self) -> None:
        """Told by each worker after its first request, whatever became of it."""
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self.under_way.set()

    def flowers(self, seed: int) -> Callable[[], tuple[int, float]]:
        """An endless source of (flower, seconds to think afterwards), the same in every run."""
        choice = random.Random(seed)
        return lambda: (choice.randrange(self._rows), choice.random() * THINK_SECONDS)


def work(kind: str, make: Callable, target: Target, notebook: Notebook, seed: int) -> None:
    """A blocking worker. After an error it starts over with a new client, as a user's process would."""
    draw, client, arrived = notebook.flowers(seed), None, False
    while not notebook.stop.is_set():
        row, think = draw()
        begin = time.monotonic()
        try:
            client = client or make(target)
            notebook.write(kind, begin, client.ask(row), None)
        except Exception as error:  # noqa: BLE001: whatever a client raises is a request that its user did not get
            notebook.write(kind, begin, None, error)
            client = client and client.close()
        if not arrived:
            notebook.arrive()
            arrived = True
        notebook.stop.wait(think)
    if client is not None:
        client.close()


async def work_aio(kind: str, make: Callable, target: Target, notebook: Notebook, seed: int) -> None:
    """The same as `work` for asyncio clients."""
    draw, client, arrived = notebook.flowers(seed), None, False
    while not notebook.stop.is_set():
        row, think = draw()
        begin = time.monotonic()
        try:
            client = client or make(target)
            notebook.write(kind, begin, await client.ask(row), None)
        except Exception as error:  # noqa: BLE001: see `work`
            notebook.write(kind, begin, None, error)
            client = client and await client.close()
        if not arrived:
            notebook.arrive()
            arrived = True
        await asyncio.sleep(think)
    if client is not None:
        await client.close()


def kinds(protocol: str) -> tuple[dict[str, Callable], dict[str, Callable]]:
    """The blocking and the asyncio kinds of one protocol, by name."""
    if protocol == "http":
        import http_kinds as http

        blocking = {"triton-http": http.TritonHttp, "plain-http": http.PlainHttp}
        return blocking | {"bad-http": http.BadHttp, "sse": http.Sse}, {"triton-http-aio": http.TritonHttpAio}
    import grpc_kinds as grpc

    blocking = {"triton-grpc": grpc.TritonGrpc, "plain-grpc": grpc.PlainGrpc, "grpc-stream": grpc.GrpcStream}
    return blocking, {"triton-grpc-aio": grpc.TritonGrpcAio}


def run(target: Target, protocol: str, workers: Counter[str]) -> list[Record]:
    """Runs that many workers of each kind until standard input ends."""
    blocking, aio = kinds(protocol)
    notebook = Notebook(workers.total(), len(target.rows))
    jobs = list(enumerate(workers.elements()))
    threads = [
        threading.Thread(target=work, args=(kind, blocking[kind], target, notebook, seed))
        for seed, kind in jobs
        if kind in blocking
    ]

    async def all_aio() -> None:
        await asyncio.gather(
            *(work_aio(kind, aio[kind], target, notebook, seed) for seed, kind in jobs if kind in aio)
        )

    threads.append(threading.Thread(target=asyncio.run, args=(all_aio(),)))
    for thread in threads:
        thread.start()
    notebook.under_way.wait()
    print("under way", flush=True)
    sys.stdin.read()
    notebook.stop.set()
    for thread in threads:
        thread.join()
    return notebook.records


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["http", "grpc"], required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--proxied", action="store_true")
    parser.add_argument("worker", nargs="+", help="KIND=COUNT")
    given = parser.parse_args()
    workers = Counter({kind: int(count) for kind, count in (worker.split("=") for worker in given.worker)})
    target = Target(given.http, given.grpc, given.answers, given.proxied)
    write_records(given.out, run(target, given.protocol, workers))


if __name__ == "__main__":
    main()
