"""The gRPC servicer of the tokenizer: translation only."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from services.tokenizer.desk import Desk
from shared.contracts.freehold.tokenizer.v1 import tokenizer_pb2 as pb
from shared.contracts.freehold.tokenizer.v1 import tokenizer_pb2_grpc
from shared.rpc.server import translated

Context: TypeAlias = grpc.aio.ServicerContext


class TokenizerServicer(tokenizer_pb2_grpc.TokenizerServicer):
    """`freehold.tokenizer.v1.Tokenizer`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @translated
    async def Encode(self, request: pb.EncodeRequest, _: Context) -> pb.EncodeResponse:
        model, ids = await self._desk.encode(request.model, request.text)
        return pb.EncodeResponse(ids=ids, tokenizer_digest=model.tokenizer_digest)

    @translated
    async def Decode(self, request: pb.DecodeRequest, _: Context) -> pb.DecodeResponse:
        return pb.DecodeResponse(text=await self._desk.decode(request.model, request.ids))

    @translated
    async def CountTokens(self, request: pb.CountTokensRequest, _: Context) -> pb.CountTokensResponse:
        model, prompt = await self._desk.render(request.request)
        bound = model.bound_of(request.request)
        return pb.CountTokensResponse(count=len(prompt.ids), bound=bound, context=model.context)

    @translated
    async def RenderChat(self, request: pb.RenderChatRequest, _: Context) -> pb.RenderChatResponse:
        model, prompt = await self._desk.render(request.request)
        return pb.RenderChatResponse(text=prompt.text, ids=prompt.ids, template_digest=model.template_digest)


def register(server: grpc.aio.Server, servicer: TokenizerServicer) -> list[str]:
    """Add the servicer and return its full name."""
    tokenizer_pb2_grpc.add_TokenizerServicer_to_server(servicer, server)
    return [pb.DESCRIPTOR.services_by_name["Tokenizer"].full_name]
