"""The gRPC servicer of inference: translation only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc

from services.inference.desk import Desk
from services.inference.streams.frames import REASONS
from shared.clock import Clock
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.inference.v1 import inference_pb2 as pb
from shared.contracts.freehold.inference.v1 import inference_pb2_grpc
from shared.contracts.freehold.platform.v1.outcome_pb2 import FINISH_REASON_UNSPECIFIED
from shared.errors import FreeholdError
from shared.rpc.auth import abort, caller
from shared.rpc.server import translated

Context: TypeAlias = grpc.aio.ServicerContext


class InferenceServicer(inference_pb2_grpc.InferenceServicer):
    """`freehold.inference.v1.Inference`."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    @translated
    async def ListModels(self, _: pb.ListModelsRequest, __: Context) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=self._desk.models())

    @translated
    async def GetLoad(self, _: pb.GetLoadRequest, __: Context) -> pb.GetLoadResponse:
        return pb.GetLoadResponse(load=self._desk.load())

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        begun = self._clock.monotonic()
        try:
            caller().require("operator")
            async for drop in self._desk.generate(_work(request)):
                yield pb.GenerateResponse(
                    ids=drop.ids,
                    elapsed_us=round((self._clock.monotonic() - begun) * 1e6),
                    reason=REASONS[drop.finish] if drop.finish else FINISH_REASON_UNSPECIFIED,
                )
        except FreeholdError as error:
            await abort(context, error)


def _work(request: pb.GenerateRequest) -> edge.GenerateTokens:
    return edge.GenerateTokens(
        model=request.model,
        prompt_ids=request.prompt_ids,
        choices=[edge.Prefix(choice=0)],
        sampling=request.sampling,
        seed=request.sampling.seed,
        max_output=request.max_output,
    )


def register(server: grpc.aio.Server, servicer: InferenceServicer) -> list[str]:
    """Add the servicer and return its full name."""
    inference_pb2_grpc.add_InferenceServicer_to_server(servicer, server)
    return [pb.DESCRIPTOR.services_by_name["Inference"].full_name]
