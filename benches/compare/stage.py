"""The stage: a scratch directory, the origins, and the proxies in front of them.

With two cores or more the proxy under test has the last one for itself; load and origins share the others.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable

from children import Ports, Trouble
from processes import CORES, Child

HERE = Path(__file__).resolve().parent
# What a proxy listens on: HTTP/1.1 to nginx, HTTP/1.1 to the tool in load/, HTTP/2 to HTTP/1.1, HTTP/2 to HTTP/2, TLS.
SIDES = ("h1", "model", "h2", "h2h2", "tls")
OURS = "verdigris"
PEERS = ("haproxy", "nginx", "envoy")

LOAD_CORES = CORES[:-1] or CORES
PROXY_CORES = CORES[-1:]


def on_stage(
    name: str, binary: str, load: str, envoy: str | None, play: Callable[["Stage"], None], *, plain_peers: bool = False
) -> int:
    """Plays on a stage of its own, which is cleared in the end; gives the exit code."""
    with tempfile.TemporaryDirectory(prefix=f"verdigris-{name}-") as directory:
        Path(directory).chmod(0o755)  # nginx reads its files with fewer rights than ours
        stage = Stage(Path(directory), binary, load, envoy, plain_peers=plain_peers)
        try:
            stage.start_origins()
            play(stage)
        except Trouble as trouble:
            print(trouble, file=sys.stderr)
            return 1
        finally:
            stage.end_all()
    return 0


class Stage:
    """Everything that a measurement plays with. Plain peers are told to add `X-Forwarded-For` to heads, and no more."""

    def __init__(self, directory: Path, binary: str, load: str, envoy: str | None, *, plain_peers: bool = False) -> None:
        self.directory, self.binary, self.load, self._envoy = directory, binary, load, envoy
        self.ports = Ports()
        self._children: list[Child] = []
        # HAProxy insists on two descriptors for each.
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._values = {"dir": str(directory), "connections": str(min(20_000, descriptors // 2 - 200))} | {
            name: str(self.ports.take()) for name in ("origin", "origin_h2", "origin_model")
        }
        # Begins the lines that plain peers do without: a comment in the language of each of them.
        self._values["fields"] = "#" if plain_peers else ""
        self._write_files()

    def _write_files(self) -> None:
        files = self.directory / "files"
        files.mkdir()
        for name, size in (("64k", 1 << 16), ("1m", 1 << 20)):
            (files / name).write_bytes(os.urandom(size))
        certificate, key = self.directory / "site.crt", self.directory / "site.key"
        subject = ["-subj", "/CN=model.test", "-addext", "subjectAltName=DNS:model.test"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7"]
        command = ["openssl", "req", "-x509", *kind, *subject, "-out", certificate, "-keyout", key]
        subprocess.run(command, check=True, capture_output=True)
        # nginx drops its rights, and reads the key before it does.
        (self.directory / "site.pem").write_text(certificate.read_text() + key.read_text())

    def render(self, template: str, **values: object) -> Path:
        """A configuration with its `@name@`s filled in."""
        text = (HERE / "conf" / template).read_text()
        for name, value in (self._values | values).items():
            text = text.replace(f"@{name}@", str(value))
        path = self.directory / f"{self.ports.take()}-{template}"
        path.write_text(text)
        return path

    def start(self, name: str, command: list[str], port: int, cores: list[int] | None = None) -> Child:
        """Starts something that listens, and waits until it does."""
        child = Child(name, command, self.directory / f"{name}.log", cores)
        self._children.append(child)
        child.wait_for_port(port)
        return child

    def client(self, *arguments: object, cores: list[int] | None = None) -> Child:
        """The load tool at work."""
        child = Child("load", [self.load, *map(str, arguments)], self.directory / "load.log", cores or LOAD_CORES)
        self._children.append(child)
        return child

    def end(self, child: Child) -> None:
        child.end()
        self._children.remove(child)

    def end_all(self) -> None:
        while self._children:
            self._children.pop().end()

    def envoy(self) -> str:
        """The program itself, without the Python that it comes with."""
        if self._envoy is None:
            raise Trouble("Envoy is not installed: run benches/compare/run without --smoke")
        finder = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))"
        return subprocess.run([self._envoy, "-c", finder], check=True, capture_output=True, text=True).stdout.strip()

    def start_origins(self) -> None:
        config = self.render("origin.nginx.conf")
        nginx = ["nginx", "-e", str(self.directory / "origin.err"), "-c", str(config), "-g", "daemon off;"]
        self.start("origin", nginx, int(self._values["origin"]), LOAD_CORES)
        model = [self.load, "origin", f"127.0.0.1:{self._values['origin_model']}"]
        self.start("model", model, int(self._values["origin_model"]), LOAD_CORES).line()


class Proxy:
    """One proxy in front of the origins. Verdigris speaks TLS or not on a port: it is two processes, the second for TLS."""

    def __init__(self, stage: Stage, name: str, *, workers: int = 1, cores: list[int] | None = None) -> None:
        self.name, self._stage = name, stage
        self.port = {side: stage.ports.take() for side in SIDES}
        self.admin = stage.ports.take()
        self._cores = cores or PROXY_CORES
        self._processes: dict[str, Child] = {}
        if name == OURS:
            self._start_ours(workers)
        else:
            child = self._start_peer(workers)
            self._processes = dict.fromkeys(SIDES, child)

    def process(self, side: str) -> Child:
        """The process that listens there."""
        return self._processes[side]

    def address(self, side: str) -> str:
        return f"127.0.0.1:{self.port[side]}"

    def end(self) -> None:
        for child in set(self._processes.values()):
            self._stage.end(child)

    def _start_ours(self, workers: int) -> None:
        stage, clear = self._stage, self.port["h1"]
        for side in ("model", "h2", "h2h2"):
            self.port[side] = clear
        files = {"cert": "site.crt", "key": "site.key"}
        tls = "\n".join(f'tls.{key} = "{stage.directory / file}"' for key, file in files.items())
        for port, admin, lines in ((clear, self.admin, ""), (self.port["tls"], stage.ports.take(), tls)):
            values = {"h1": port, "admin": admin, "tls_lines": lines, "workers": workers}
            config = stage.render("verdigris.toml", **values)
            child = stage.start(OURS, [stage.binary, "run", "--config", str(config)], port, self._cores)
            child.wait_for_port(admin)
            sides = [side for side in SIDES if self.port[side] == port]
            self._processes |= dict.fromkeys(sides, child)

    def _start_peer(self, workers: int) -> Child:
        stage = self._stage
        config = stage.render(
            {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "envoy": "envoy.yaml"}[self.name],
            workers=workers,
            **self.port,
        )
        command = {
            "haproxy": ["haproxy", "-db", "-f", str(config)],
            "nginx": ["nginx", "-e", str(stage.directory / "nginx.err"), "-c", str(config), "-g", "daemon off;"],
        }
        if self.name == "envoy":
            flags = ["--concurrency", str(workers), "--log-level", "error", "--use-dynamic-base-id"]
            command["envoy"] = [stage.envoy(), "-c", str(config), *flags]
        return stage.start(self.name, command[self.name], self.port["h1"], self._cores)
