"""A proxy whose gate knows right answers: golden requests made of flowers whose class is known."""

import contextlib
import json
from pathlib import Path
from typing import Iterator

from children import Ports
from model_server import ModelServer
from switcher import Verdigris

EVERY = 4
NEEDED = "75 %"
STOP_SECONDS = 20


@contextlib.contextmanager
def proxy(
    binary: Path, blue: ModelServer, green: ModelServer, answers: Path, directory: Path, ports: Ports
) -> Iterator[Verdigris]:
    """Not started yet; ended with the context."""
    golden = directory / "golden.jsonl"
    golden.write_text(_golden(json.loads(answers.read_text())))
    guarded = Verdigris(binary, blue, green, directory, ports, name="gated", gate=f'golden = "{golden}"')
    try:
        yield guarded
        guarded.terminate(STOP_SECONDS)
    finally:
        guarded.kill()


def _golden(table: dict) -> str:
    """One request for every fourth flower, over HTTP and gRPC in turn; what is right is what the botanist said."""
    lines = [{"golden": 1, "need": NEEDED}]
    for number in range(0, len(table["rows"]), EVERY):
        tensor = {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": table["rows"][number]}
        request = {"path": "/v2/models/iris/infer", "json": {"inputs": [tensor]}}
        if number // EVERY % 2:
            message = {"model_name": "iris", "inputs": [tensor]}
            request = {"grpc": {"method": "/inference.GRPCInferenceService/ModelInfer", "message": message}}
        expect = {"tensors": {"predict": {"data": [table["classes"][number]]}}}
        lines.append({"name": f"flower {number}", "request": request, "expect": expect})
    return "".join(json.dumps(line) + "\n" for line in lines)
