"""A model that answers one token at a time: over HTTP as server-sent events, over gRPC as a stream of messages."""

import asyncio
from typing import AsyncIterator

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

TOKENS = 20
GAP_SECONDS = 0.05


class TokenStream(MLModel):
    async def load(self) -> bool:
        return True

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for _ in payloads:
            for number in range(TOKENS):
                yield self._token(number)
                await asyncio.sleep(GAP_SECONDS)

    def _token(self, number: int) -> InferenceResponse:
        output = ResponseOutput(name="token", shape=[1], datatype="INT64", data=[number])
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
