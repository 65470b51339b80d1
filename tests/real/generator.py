"""Load as the scenario sees it: started, under way, stopped, and what it wrote down."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from children import Trouble
from processes import Child
from records import Record, read_records

WORKERS = {
    "http": ["triton-http=2", "triton-http-aio=2", "plain-http=2", "sse=2", "bad-http=1"],
    "grpc": ["triton-grpc=2", "triton-grpc-aio=2", "plain-grpc=2", "grpc-stream=2"],
}
START_SECONDS = 60
STOP_SECONDS = 60


class Load:
    """Both protocols' load processes. A context: leaving it stops them."""

    def __init__(self, name: str, http: str, grpc: str, answers: Path, directory: Path, *, proxied: bool) -> None:
        self.records: list[Record] = []
        self._directory, self._name = directory, name
        self._common = ["--http", http, "--grpc", grpc, "--answers", str(answers)] + ["--proxied"] * proxied
        self._processes: dict[str, Child] = {}

    def __enter__(self) -> Self:
        """Starts all workers and waits until each has made its first request."""
        for protocol, workers in WORKERS.items():
            script = str(Path(__file__).with_name("load.py"))
            command = [sys.executable, script, "--protocol", protocol, "--out", str(self._out(protocol))]
            log = self._directory / f"load-{self._name}-{protocol}.log"
            self._processes[protocol] = Child(
                f"load {protocol}", [*command, *self._common, *workers], log, stdin=subprocess.PIPE
            )
        for child in self._processes.values():
            child.wait_for_line("under way", START_SECONDS)
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        for child in self._processes.values():
            child.close_stdin() if exception is None else child.kill()
        if exception is None:
            self._collect()

    def flow(self, seconds: float) -> None:
        """Lets the load flow on for that long."""
        time.sleep(seconds)
        for child in self._processes.values():
            if not child.running:
                raise Trouble(f"{child.name} ended early\n{child.tail()}")

    def _collect(self) -> None:
        for protocol, child in self._processes.items():
            if child.wait(STOP_SECONDS) != 0:
                raise Trouble(f"{child.name} failed\n{child.tail()}")
            self.records += read_records(self._out(protocol))

    def _out(self, protocol: str) -> Path:
        return self._directory / f"load-{self._name}-{protocol}.jsonl"
