"""gRPC loads. gRPC's own repeating of calls is off, so what is lost on the way is seen here."""

import threading
import time
from urllib.parse import urlsplit

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from target import CONNECT_SECONDS, TIMEOUT_SECONDS, Answer, Target, Wrong, check_tokens

# A subchannel pool of its own gives each worker a connection of its own.
CHANNEL = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


class TritonGrpc:
    """The inference client that users of these servers have, in its blocking form."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = triton.InferenceServerClient(_authority(target), channel_args=CHANNEL)

    def ask(self, row: int) -> Answer:
        result = self._client.infer("iris", _inputs(self._target, row), client_timeout=TIMEOUT_SECONDS)
        return _read(self._target, row, result)

    def close(self) -> None:
        self._client.close()


class TritonGrpcAio:
    """The same client in its asyncio form."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = triton_aio.InferenceServerClient(_authority(target), channel_args=CHANNEL)

    async def ask(self, row: int) -> Answer:
        result = await self._client.infer("iris", _inputs(self._target, row), client_timeout=TIMEOUT_SECONDS)
        return _read(self._target, row, result)

    async def close(self) -> None:
        await self._client.close()


class PlainGrpc:
    """One channel for the whole run, watched: if its connection goes (GOAWAY included), that is an error."""

    def __init__(self, target: Target) -> None:
        self._target, self._lost = target, threading.Event()
        self._channel = grpc.insecure_channel(_authority(target), options=CHANNEL)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        grpc.channel_ready_future(self._channel).result(CONNECT_SECONDS)
        self._was_ready = False
        self._channel.subscribe(self._watch)

    def ask(self, row: int) -> Answer:
        request = _request(self._target, row)
        answer, call = self._stub.ModelInfer.with_call(request, timeout=TIMEOUT_SECONDS)
        label = dict(call.initial_metadata()).get("x-verdigris-version")
        self._target.check_label(answer.model_version, label)
        self._target.check_class(row, answer.model_version, _only_number(answer))
        if self._lost.is_set():
            self._lost.clear()
            raise Wrong("the answer was right, but the channel lost its connection")
        return Answer(answer.model_version)

    def close(self) -> None:
        self._channel.close()

    def _watch(self, state: grpc.ChannelConnectivity) -> None:
        ready = state is grpc.ChannelConnectivity.READY
        if self._was_ready and not ready:
            self._lost.set()
        self._was_ready = ready


class GrpcStream:
    """A stream of one token a message. MLServer sends bare answers, which Triton's own stub would not read."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(_authority(target), options=CHANNEL)
        self._call = self._channel.stream_stream(
            STREAM,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )

    def ask(self, row: int) -> Answer:
        request = _request(self._target, row)
        request.model_name = "tokens"
        call = self._call(iter([request]), timeout=TIMEOUT_SECONDS)
        first, versions, tokens = None, [], []
        for message in call:
            first = first or time.monotonic()
            versions.append(message.model_version)
            tokens.append(_only_number(message))
        version = check_tokens(versions, tokens)
        self._target.check_label(version, dict(call.initial_metadata()).get("x-verdigris-version"))
        return Answer(version, first)

    def close(self) -> None:
        self._channel.close()


def _authority(target: Target) -> str:
    return urlsplit(target.grpc).netloc


def _inputs(target: Target, row: int) -> list[triton.InferInput]:
    tensor = triton.InferInput("input-0", [1, 4], "FP64")
    tensor.set_data_from_numpy(np.array([target.rows[row]]))
    return [tensor]


def _request(target: Target, row: int) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="input-0", datatype="FP64", shape=[1, 4])
    tensor.contents.fp64_contents.extend(target.rows[row])
    return request


def _only_number(answer: service_pb2.ModelInferResponse) -> int:
    """The answer's one number. MLServer answers typed contents to typed contents, and raw bytes to raw bytes."""
    (number,) = answer.outputs[0].contents.int64_contents
    return number


def _read(target: Target, row: int, result: triton.InferResult) -> Answer:
    version = result.get_response().model_version
    target.check_class(row, version, int(result.as_numpy("predict").flatten()[0]))
    return Answer(version)
