"""What the figures were measured on, and with."""

import datetime
import platform
import re
import subprocess
from pathlib import Path

from processes import CORES
from stage import OURS, Stage


def lines(stage: Stage, names: list[str]) -> list[str]:
    """The date, the machine, the versions."""
    versions = ", ".join(version(stage, name) for name in names)
    cores = "1 core" if len(CORES) == 1 else f"{len(CORES)} cores"
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return [f"{today}; {cores} of {_model()}, Linux {platform.release()}; {versions}."]


def version(stage: Stage, name: str) -> str:
    """The program's own word for itself."""
    command = {OURS: [stage.binary, "--version"], "haproxy": ["haproxy", "-v"], "nginx": ["nginx", "-v"]}
    said = _say(command[name] if name in command else [stage.envoy(), "--version"])
    number = re.search(r"\d+\.\d+\.\d+", said)
    title = {OURS: "Verdigris", "haproxy": "HAProxy"}.get(name, name if name == "nginx" else name.title())
    return f"{title} {number[0] if number else said.strip()}"


def _say(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr  # nginx tells its version as an error


def _model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1].strip() if found else platform.machine()
