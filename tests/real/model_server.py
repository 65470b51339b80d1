"""One MLServer: a slot's model server, with HTTP and gRPC on ports of their own."""

import http.client
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from children import Ports, Trouble
from processes import Child, wait_until

START_SECONDS = 90
STOP_SECONDS = 30
MODELS = Path(__file__).parent / "models"


class ModelServer:
    """Starts, stops and asks one MLServer. The ports stay the same over restarts."""

    def __init__(self, name: str, version: str, repository: Path, directory: Path, ports: Ports) -> None:
        self.version = version
        self.name, self.http_port, self.grpc_port = name, ports.take(), ports.take()
        self._repository = directory / f"mlserver-{name}"
        self._hold, self._log = directory / f"{name}.hold", directory / f"mlserver-{name}.log"
        self._child: Child | None = None
        shutil.copytree(repository, self._repository)
        self._write_settings()

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"h2c://127.0.0.1:{self.grpc_port}"

    def start(self) -> float:
        """Starts the server and waits until it is ready; gives the seconds that took."""
        begin = time.monotonic()
        self.start_loading()
        self.finish_loading()
        return time.monotonic() - begin

    def start_loading(self) -> None:
        """Starts the server, waits until its port is open, and keeps the iris model from finishing to load."""
        self._hold.touch()
        environment = os.environ | {"PYTHONPATH": str(MODELS), "IRIS_HOLD_FILE": str(self._hold)}
        command = [str(Path(sys.executable).parent / "mlserver"), "start", str(self._repository)]
        self._child = Child(f"mlserver {self.name}", command, self._log, env=environment, cwd=self._repository)
        wait_until(f"{self.name}'s port", START_SECONDS, lambda: self.http_status("/v2/health/live") == 200, self._child)

    def finish_loading(self) -> None:
        """Lets the model load and waits until HTTP and gRPC both say ready."""
        self._hold.unlink(missing_ok=True)
        wait_until(f"{self.name} ready", START_SECONDS, self._ready, self._child)

    def terminate(self) -> int:
        """SIGTERM, as an orchestrator sends it; waits for the end and gives the exit code."""
        child = self._started()
        child.send(signal.SIGTERM)
        return child.wait(STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL; does nothing to a server that is not running."""
        if self._child is not None:
            self._child.kill()

    def http_status(self, path: str) -> int | None:
        """The status of a GET over a new connection; None if there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def tail(self) -> str:
        return self._child.tail() if self._child else ""

    def _ready(self) -> bool:
        return self.http_status("/v2/models/iris/ready") == 200 and self._grpc_ready()

    def _grpc_ready(self) -> bool:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                return stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=5).ready
            except grpc.RpcError:
                return False

    def _started(self) -> Child:
        if self._child is None:
            raise Trouble(f"{self.name} was never started")
        return self._child

    def _write_settings(self) -> None:
        settings = {
            "host": "127.0.0.1",
            "http_port": self.http_port,
            "grpc_port": self.grpc_port,
            "metrics_endpoint": None,
            # Streams need the model in the server's own process, and answers that no middleware gathers to compress.
            "parallel_workers": 0,
            "gzip_enabled": False,
            "debug": False,
        }
        (self._repository / "settings.json").write_text(json.dumps(settings, indent=2))
