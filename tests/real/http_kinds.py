"""HTTP loads. None of these clients repeats a POST by itself, so what is lost on the way is seen here."""

import http.client
import json
import time
from urllib.parse import urlsplit

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

from target import TIMEOUT_SECONDS, Answer, Target, Wrong, check_tokens

INFER = "/v2/models/iris/infer"
STREAM = "/v2/models/tokens/infer_stream"
# The asyncio client, and ours, would leave MLServer to guess that JSON is JSON; it answers 422 instead.
JSON = {"content-type": "application/json"}


class TritonHttp:
    """The inference client that users of these servers have, in its blocking form."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = triton.InferenceServerClient(
            _authority(target), connection_timeout=TIMEOUT_SECONDS, network_timeout=TIMEOUT_SECONDS
        )

    def ask(self, row: int) -> Answer:
        return _read(self._target, row, self._client.infer("iris", _inputs(self._target, row), outputs=_outputs()))

    def close(self) -> None:
        self._client.close()


class TritonHttpAio:
    """The same client in its asyncio form."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = triton_aio.InferenceServerClient(_authority(target), conn_timeout=TIMEOUT_SECONDS)

    async def ask(self, row: int) -> Answer:
        result = await self._client.infer("iris", _inputs(self._target, row), outputs=_outputs(), headers=JSON)
        return _read(self._target, row, result)

    async def close(self) -> None:
        await self._client.close()


class PlainHttp:
    """One keep-alive connection for the whole run. To be told to close it, or to lose it, is an error."""

    def __init__(self, target: Target) -> None:
        self._target, self._connection = target, _connect(target)
        self._connection.connect()

    def ask(self, row: int) -> Answer:
        _post(self._connection, INFER, self._target.json_request(row))
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise Wrong(f"status {response.status}: {body[:200]!r}")
        answer = json.loads(body)
        version = answer["model_version"]
        self._target.check_label(version, response.headers["x-verdigris-version"])
        self._target.check_class(row, version, _flat(answer["outputs"][0]["data"]))
        if self._connection.sock is None:
            raise Wrong("the answer was right, but the client was told to close its connection")
        return Answer(version)

    def close(self) -> None:
        self._connection.close()


class BadHttp:
    """A user whose requests have the wrong shape. MLServer answers 500 and silently closes the connection behind it.

    The 500 is the right answer. The harm, if there is any, is done to whomever the proxy gives that connection next.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def ask(self, row: int) -> Answer:
        tensor = {"name": "input-0", "shape": [1, 3], "datatype": "FP64", "data": self._target.rows[row][:3]}
        connection = _connect(self._target)
        try:
            _post(connection, INFER, json.dumps({"inputs": [tensor]}).encode())
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 500 or response.headers["x-verdigris-error"]:
            raise Wrong(f"status {response.status} instead of MLServer's 500: {body[:200]!r}")
        label = response.headers["x-verdigris-version"]
        if self._target.proxied and label is None:
            raise Wrong("the answer does not carry x-verdigris-version")
        return Answer(label)

    def close(self) -> None:
        """Has nothing open."""


class Sse:
    """Server-sent events: one token each, about a second in all, so that most streams live through a switch."""

    def __init__(self, target: Target) -> None:
        self._target, self._connection = target, _connect(target)

    def ask(self, row: int) -> Answer:
        _post(self._connection, STREAM, self._target.json_request(row))
        response = self._connection.getresponse()
        if response.status != 200:
            raise Wrong(f"status {response.status}: {response.read()[:200]!r}")
        first, versions, tokens = None, [], []
        while line := response.readline():
            first = first or time.monotonic()
            if line.startswith(b"data:"):
                message = json.loads(line[len(b"data:") :])
                versions.append(message["model_version"])
                tokens.append(_flat(message["outputs"][0]["data"]))
        version = check_tokens(versions, tokens)
        self._target.check_label(version, response.headers["x-verdigris-version"])
        return Answer(version, first)

    def close(self) -> None:
        self._connection.close()


def _authority(target: Target) -> str:
    return urlsplit(target.http).netloc


def _connect(target: Target) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(_authority(target), timeout=TIMEOUT_SECONDS)


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
    connection.request("POST", path, body, JSON)


def _inputs(target: Target, row: int) -> list[triton.InferInput]:
    tensor = triton.InferInput("input-0", [1, 4], "FP64")
    # MLServer takes no binary tensors over HTTP.
    tensor.set_data_from_numpy(np.array([target.rows[row]]), binary_data=False)
    return [tensor]


def _outputs() -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput("predict", binary_data=False)]


def _read(target: Target, row: int, result: triton.InferResult) -> Answer:
    version = result.get_response()["model_version"]
    target.check_class(row, version, int(result.as_numpy("predict").flatten()[0]))
    return Answer(version)


def _flat(data: list) -> int:
    """The only number of a tensor that may be nested."""
    while isinstance(data, list):
        (data,) = data
    return data
