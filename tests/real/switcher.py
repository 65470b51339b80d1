"""The verdigris process and its command line, used as an operator uses them."""

import http.client
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from children import Ports, Trouble
from model_server import ModelServer
from processes import Child, wait_until

START_SECONDS = 30
COMMAND_SECONDS = 60
REFUSED = 2


class Reply(NamedTuple):
    """A finished command: its exit code and its output, and when it was called and returned (monotonic seconds)."""

    command: str
    code: int
    stdout: str
    stderr: str
    called: float
    returned: float

    def __str__(self) -> str:
        return f"`verdigris {self.command}` exited {self.code}: {(self.stdout + self.stderr).strip()[:1500]}"


class State(NamedTuple):
    """What the admin API says of the service."""

    active: str
    generation: int


class Verdigris:
    """One proxy with one service, `iris`, that takes every request: gRPC calls have no model in their path."""

    def __init__(self, binary: Path, blue: ModelServer, green: ModelServer, directory: Path, ports: Ports, name: str = "verdigris", gate: str = "") -> None:
        """`gate` are lines for `[service.gate]`."""
        self._binary, self._directory = binary, directory / name
        self._directory.mkdir()
        self._config = self._directory / "verdigris.toml"
        listen, admin = f"127.0.0.1:{ports.take()}", f"127.0.0.1:{ports.take()}"
        self.http_url, self.grpc_url, self.admin_url = f"http://{listen}", f"h2c://{listen}", f"http://{admin}"
        self._config.write_text(_toml(listen, admin, blue, green, gate))
        self._child: Child | None = None

    def start(self) -> float:
        """Starts the proxy and waits until it says it is ready; gives the seconds that took."""
        command = [str(self._binary), "run", "--config", str(self._config)]
        self._child = Child("verdigris", command, self._directory / "verdigris.log")
        return wait_until("verdigris ready", START_SECONDS, lambda: self._status("/ready") == 200, self._child)

    def check(self) -> Reply:
        """`verdigris check` on the generated file."""
        return self._call("check", "--config", str(self._config))

    def run(self, *arguments: str) -> Reply:
        """A client command, such as `switch iris --to green`."""
        return self._call(*arguments, "--admin", self.admin_url)

    def state(self) -> State:
        service = self.get("/v1/services/iris")
        return State(service["active"], service["generation"])

    def get(self, path: str) -> dict:
        """An answer of the admin API."""
        connection = http.client.HTTPConnection(urlsplit(self.admin_url).netloc, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise Trouble(f"GET {path} on the admin API: {response.status} {body[:500]!r}")
        return json.loads(body)

    def terminate(self, seconds: float) -> int:
        """SIGTERM; waits for the end and gives the exit code."""
        if self._child is None:
            raise Trouble("verdigris was never started")
        self._child.send(signal.SIGTERM)
        return self._child.wait(seconds)

    def kill(self) -> None:
        """SIGKILL; does nothing to a proxy that is not running."""
        if self._child is not None:
            self._child.kill()

    def tail(self) -> str:
        return self._child.tail() if self._child else ""

    def _status(self, path: str) -> int | None:
        connection = http.client.HTTPConnection(urlsplit(self.admin_url).netloc, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _call(self, *arguments: str) -> Reply:
        called = time.monotonic()
        try:
            done = subprocess.run(
                [str(self._binary), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Trouble(f"`verdigris {' '.join(arguments)}` took more than {COMMAND_SECONDS} s") from None
        return Reply(" ".join(arguments), done.returncode, done.stdout, done.stderr, called, time.monotonic())


def _toml(listen: str, admin: str, blue: ModelServer, green: ModelServer, gate: str) -> str:
    return f"""\
version = 1

[proxy]
listen = "{listen}"

[admin]
listen = "{admin}"

[state]
dir = "state"

[[service]]
name = "iris"
active = "blue"

[service.blue]
endpoints = [{{ http = "{blue.http_url}", grpc = "{blue.grpc_url}" }}]
version = "{blue.version}"

[service.green]
endpoints = [{{ http = "{green.http_url}", grpc = "{green.grpc_url}" }}]
version = "{green.version}"

[service.health]
path = "/v2/models/iris/ready"
grpc = "v2"
interval = "500ms"

[service.gate]
{gate}
"""
