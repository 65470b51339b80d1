#!/usr/bin/env python3
"""Does what the README tells a reader to do, so that it stays true.

In README.md, `<!-- file: NAME -->` before a fenced block means: save this as NAME. `<!-- run -->` before one means: type
this. Blocks are taken in order, in one shell, in an empty directory, with the binary under test first in the path; any
command that fails fails the test. A block without such a mark is only read by people.

Ports that occur in an address on loopback are replaced here, the same everywhere, since a reader's 8080 may be taken on the
machine of the test. After a line that ends in `&` the test waits, as a reader does, until what was started listens: on the
ports that the line names, or for `verdigris run` on those of the saved configuration.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parent.parent / "README.md"
MARKED = re.compile(r"^<!-- (?:(run)|file: (\S+)) -->\n+```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"(127\.0\.0\.1|localhost|0\.0\.0\.0):(\d{2,5})\b")
LISTEN = re.compile(r"^\s*listen\s*=.*$", re.MULTILINE)
SECONDS = 120

PRELUDE = r"""
set -euo pipefail
listening() {
  local port tries
  for port; do
    for ((tries = 0; tries < 400; tries++)); do
      (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
      sleep 0.05
    done
    ((tries < 400)) || { echo "nothing listens on port $port" >&2; return 1; }
  done
}
"""


class Block(NamedTuple):
    """What to do: save `text` as `file`, or run it."""

    file: str | None
    text: str


class Ports:
    """The port that stands for each port of the README."""

    def __init__(self, text: str) -> None:
        self._held = {port: _hold() for port in {found[2] for found in ADDRESS.finditer(text)} | {"9900"}}
        self._ports = {port: str(held.getsockname()[1]) for port, held in self._held.items()}

    def move(self, text: str) -> str:
        return re.sub(r"\b\d{2,5}\b", lambda found: self._ports.get(found[0], found[0]), text)

    def named_in(self, text: str) -> list[str]:
        """The moved ports that occur in a text that was moved."""
        return [number for number in re.findall(r"\b\d{2,5}\b", text) if number in self._ports.values()]

    def let_go(self) -> None:
        for holder in self._held.values():
            holder.close()


def _hold() -> socket.socket:
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder


def blocks(text: str, ports: Ports) -> list[Block]:
    """The marked blocks, in order. A mark without a block after it is a mistake."""
    found = [Block(file or None, ports.move(body)) for _, file, body in MARKED.findall(text)]
    marks = len(re.findall(r"^<!-- (?:run|file: \S+) -->$", text, re.MULTILINE))
    if len(found) != marks:
        raise SystemExit(f"README.md has {marks} marks, but only {len(found)} of them stand right before a fenced block")
    if not any(block.file is None for block in found):
        raise SystemExit("README.md has no block that is marked with `<!-- run -->`, so nothing of it is tested")
    return found


def script(found: list[Block], ports: Ports) -> str:
    """One shell script that does it all, showing each command before it is run."""
    parts, configured = [PRELUDE], []
    for number, block in enumerate(found):
        if block.file is not None:
            parts.append(f"cat > '{block.file}' <<'END-OF-FILE-{number}'\n{block.text}END-OF-FILE-{number}\n")
            configured = ports.named_in("\n".join(LISTEN.findall(block.text))) or configured
        else:
            lines = [_waiting(line, ports, configured) for line in block.text.splitlines()]
            parts.append("\n".join(["set -x", *lines, "{ set +x; } 2>/dev/null", ""]))
    return "".join(parts)


def _waiting(line: str, ports: Ports, configured: list[str]) -> str:
    if not line.rstrip().endswith("&"):
        return line
    awaited = configured if "verdigris run" in line else ports.named_in(line)
    return f"{line}\n{{ set +x; }} 2>/dev/null; listening {' '.join(awaited)}; set -x"


def follow(found: list[Block], binary: Path, ports: Ports) -> int:
    """Runs the script in an empty directory; afterwards nothing that it started is left."""
    with tempfile.TemporaryDirectory(prefix="verdigris-readme-") as name:
        scratch = Path(name)
        (scratch / "bin").mkdir()
        (scratch / "bin" / "verdigris").symlink_to(binary)
        # A reader notices an error page; curl alone would not.
        (scratch / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
        (scratch / "work").mkdir()
        environment = os.environ | {
            "PATH": f"{scratch / 'bin'}:{os.environ['PATH']}",
            "CURL_HOME": str(scratch),
            "VERDIGRIS_ADMIN": f"http://127.0.0.1:{ports.move('9900')}",
        }
        ports.let_go()
        shell = subprocess.Popen(
            ["bash", "-c", script(found, ports)],
            cwd=scratch / "work",
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return shell.wait(SECONDS)
        except subprocess.TimeoutExpired:
            print(f"README.md's commands did not end within {SECONDS} s")
            return 124
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (binary,) = sys.argv[1:]
    text = README.read_text()
    ports = Ports(text)
    found = blocks(text, ports)
    code = follow(found, Path(binary).resolve(), ports)
    runs = sum(block.file is None for block in found)
    print(f"README.md: {runs} blocks run, {len(found) - runs} files saved: {'ok' if code == 0 else f'FAILED ({code})'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
