"""Child processes that cannot outlive the test."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

from children import Trouble, die_with_parent



class Child:
    """A child process whose output goes to a file of its own."""

    def __init__(self, name: str, command: list[str], log: Path, **popen: object) -> None:
        self.name, self.log = name, log
        popen = {"stdin": subprocess.DEVNULL} | popen
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, preexec_fn=_end_with_us, **popen
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, signal_number: int) -> None:
        """Sends a signal, unless the process has ended already."""
        if self.running:
            self._process.send_signal(signal_number)

    def wait(self, seconds: float) -> int:
        """Waits for the end; gives the exit code (minus the signal's number, if one ended it)."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{self.name} did not end within {seconds:g} s\n{self.tail()}") from None

    def wait_for_line(self, line: str, seconds: float) -> None:
        """Waits until the process has printed that line."""
        wait_until(f"{self.name}: {line!r}", seconds, lambda: line in self.log.read_text(errors="replace"), self)

    def close_stdin(self) -> None:
        """Tells the process, by the end of its input, that it is to finish."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """Ends the process at once and waits until it is gone."""
        self.send(signal.SIGKILL)
        self._process.wait()

    def tail(self, lines: int = 30) -> str:
        """The end of what the process printed, for a report."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"    {self.name}| {line}" for line in text)


def wait_until(what: str, seconds: float, holds: Callable[[], bool], child: Child | None = None) -> float:
    """Waits until `holds()`; gives the seconds it took. A child that ends meanwhile is trouble at once."""
    begin = time.monotonic()
    while not holds():
        ended = child is not None and not child.running
        if ended or time.monotonic() - begin > seconds:
            why = "its process ended" if ended else f"waited {seconds:g} s"
            raise Trouble(f"{what}: {why}\n{child.tail() if child else ''}")
        time.sleep(0.02)
    return time.monotonic() - begin


def _end_with_us() -> None:
    die_with_parent(signal.SIGKILL)
