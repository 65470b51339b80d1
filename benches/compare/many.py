"""A Verdigris with many services or endpoints, in front of the load tool's origins."""

import os

import admin
from stage import Stage


class Many:
    """One process on all cores, whose file can be written anew. `services` and `endpoints` (of each slot) say how many."""

    def __init__(self, stage: Stage, services: int, endpoints: int, *, workers: int = 1) -> None:
        self._stage, self._services, self._endpoints, self._workers = stage, services, endpoints, workers
        self.port, self.admin = stage.ports.take(), stage.ports.take()
        # An address may stand in many services, but only once in a slot; both slots have servers of their own.
        self._origins = [stage.ports.take() for _ in range(2 * endpoints)]
        addresses = [f"127.0.0.1:{port}" for port in self._origins]
        self._origin = stage.start("origins", [stage.load, "origin", *addresses], self._origins[-1])
        self._origin.line()
        # A machine has its limits: two thousand probes a second at most, each a connection of its own.
        self._probe_every = max(2, services * endpoints // 1_000)
        self._path = stage.directory / f"many-{self.port}.toml"
        self.write("1")
        self.process = stage.start("verdigris", [stage.binary, "run", "--config", str(self._path)], self.port)
        self.process.wait_for_port(self.admin)

    def address(self, _side: str = "h1") -> str:
        return f"127.0.0.1:{self.port}"

    def end(self) -> None:
        self._stage.end(self.process)
        self._stage.end(self._origin)

    def write(self, version: str, *, all_services: bool = False) -> None:
        """Writes the file anew, in one step; the last service's green, or every one's, gets another version."""
        self.prepare(version, all_services=all_services)
        self.put()

    def put(self) -> None:
        """Puts what was prepared in the file's place."""
        os.rename(self._path.with_suffix(".new"), self._path)

    def prepare(self, version: str, *, all_services: bool = False) -> None:
        """Writes the next file beside the one that is watched: to make up a long text costs as much as to read it."""
        lines = [
            "version = 1",
            f'[proxy]\nlisten = "{self.address()}"\nworkers = {self._workers}',
            "[proxy.limits]\nconnections_max = 40000",
            f'[admin]\nlisten = "127.0.0.1:{self.admin}"',
            f'[state]\ndir = "{self._path.stem}-state"',
            '[log]\nfilter = "error"',
        ]
        last = self._services - 1
        lines += [self._service(index, version if all_services or index == last else "1") for index in range(last + 1)]
        self._path.with_suffix(".new").write_text("\n".join(lines) + "\n")

    def _service(self, index: int, version: str) -> str:
        half = self._endpoints
        blue, green = (_urls(ports) for ports in (self._origins[:half], self._origins[half:]))
        return "\n".join([
            f'[[service]]\nname = "model-{index}"\nmatch = {{ path_prefix = "/v2/models/model-{index}" }}',
            f'[service.blue]\nendpoints = {blue}\nversion = "1"',
            f'[service.green]\nendpoints = {green}\nversion = "{version}"',
            f'[service.health]\npath = "/v2/health/ready"\ninterval = "{self._probe_every}s"',
        ])

    def path(self, index: int) -> str:
        return f"/v2/models/model-{index}/infer"

    def wait_until_healthy(self) -> None:
        admin.wait_until_healthy(self.admin)


def _urls(ports: list[int]) -> str:
    return "[" + ", ".join(f'"http://127.0.0.1:{port}"' for port in ports) + "]"


