"""Processes of our own: started, watched, measured and ended."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterator

from children import Trouble, die_with_parent

_TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))


class Child:
    """A process whose output goes to a file, kept on some cores; `pid` is the root of its tree."""

    def __init__(self, name: str, command: list[str], log: Path, cores: list[int] | None = None) -> None:
        self.name, self.log = name, log
        pinned = ["taskset", "-c", ",".join(map(str, cores or CORES)), *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, preexec_fn=_end_with_us, text=True
            )
        self.pid = self._process.pid

    def say(self, line: str) -> None:
        """A line for its standard input."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def line(self) -> str:
        """The next line of its standard output."""
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if not line:
            raise Trouble(f"{self.name} said nothing and ended\n{self.tail()}")
        return line

    def result(self) -> dict:
        """Its next line, which is JSON."""
        return json.loads(self.line())

    def end(self) -> None:
        """Ends it: first politely, so that it ends its own children."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_for_port(self, port: int, seconds: float = 20) -> None:
        """Waits until it takes connections there."""
        begin = time.monotonic()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() - begin > seconds:
                    raise Trouble(f"{self.name} does not listen on {port}\n{self.tail()}") from None
                time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children so far."""
        return sum(_ticks(pid) for pid in _tree(self.pid)) / _TICKS

    def rss_kib(self) -> int:
        """Resident memory of the process and its children."""
        return sum(_rss_kib(pid) for pid in _tree(self.pid))

    def tail(self) -> str:
        """The end of what it complained of."""
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join(f"    {self.name}| {line}" for line in lines)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in children.read_text().split():
                yield from _tree(int(child))
        except OSError:
            pass  # a thread has ended meanwhile


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _rss_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


def _end_with_us() -> None:
    die_with_parent(signal.SIGTERM)
