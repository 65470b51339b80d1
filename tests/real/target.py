"""What every kind of load knows: where to ask, what to ask, and what a right answer is."""

import json
from pathlib import Path
from typing import NamedTuple

TIMEOUT_SECONDS = 30
CONNECT_SECONDS = 5
TOKENS = 20


class Wrong(Exception):
    """An answer arrived, but not one that a model server gives to this request."""


class Answer(NamedTuple):
    """Which version answered; and for a stream, when its first message came."""

    version: str | None
    first_message: float | None = None


class Target:
    """The addresses under test, the flowers to ask about, and what each version says to each."""

    def __init__(self, http: str, grpc: str, answers: Path, proxied: bool) -> None:
        self.http, self.grpc, self.proxied = http, grpc, proxied
        table = json.loads(answers.read_text())
        self.rows: list[list[float]] = table["rows"]
        self._predictions: dict[str, list[int]] = table["predictions"]

    def check_class(self, row: int, version: str, said: int) -> None:
        """Raises unless that version's model says that about that flower: the label and the content must agree."""
        if version not in self._predictions:
            raise Wrong(f"unknown model version {version!r}")
        if said != (right := self._predictions[version][row]):
            raise Wrong(f"flower {row}: {version} says {right}, the answer labelled {version} says {said}")

    def check_label(self, version: str | None, label: str | None) -> None:
        """Raises unless the proxy's `x-verdigris-version` names the version that the model server named itself."""
        if self.proxied and label != version:
            raise Wrong(f"x-verdigris-version is {label!r}, but the model server says {version!r}")

    def json_request(self, row: int) -> bytes:
        """The Open Inference Protocol's request about one flower."""
        tensor = {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": self.rows[row]}
        return json.dumps({"inputs": [tensor]}).encode()


def check_tokens(versions: list[str], tokens: list[int]) -> str:
    """The one version of a whole stream. Raises if tokens are missing, repeated, or of two versions."""
    if tokens != list(range(TOKENS)):
        raise Wrong(f"the stream has tokens {tokens}, not 0 to {TOKENS - 1}")
    if len(set(versions)) != 1:
        raise Wrong(f"one stream, several versions: {versions}")
    return versions[0]
