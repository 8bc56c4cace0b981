"""What a worker tells over gRPC: models, load, and a diagnostic generation without text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from shared.callers import OPERATOR, Caller
from shared.contracts.freehold.edge.v1 import request_pb2
from shared.contracts.freehold.inference.v1 import inference_pb2 as pb
from shared.contracts.freehold.inference.v1 import inference_pb2_grpc
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.rpc.server import RpcServer
from tests.unit.inference.world import MANIFEST, World, with_settings, world

TENANT = Caller("key", "org", "project", frozenset({"complete"}))
CALLERS = {"operator": OPERATOR, "tenant": TENANT}


def as_caller(name: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {name}"),)


@asynccontextmanager
async def served(one: World) -> AsyncIterator[Any]:
    server = RpcServer(CALLERS.get)
    names = one.service.register(server.server)
    assert names == ["freehold.inference.v1.Inference"]
    port = await server.start("127.0.0.1:0", names, reflect=False)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield inference_pb2_grpc.InferenceStub(channel)
    await server.stop(0.0)


async def test_models_and_load() -> None:
    async with world() as one, served(one) as stub:
        models = (await stub.ListModels(pb.ListModelsRequest(), metadata=as_caller("tenant"))).models
        assert [(model.name, model.weights_digest) for model in models] == [
            (MANIFEST.name, MANIFEST.weights_sha256)
        ]
        load = (await stub.GetLoad(pb.GetLoadRequest(), metadata=as_caller("tenant"))).load
        assert (load.slots, load.free_slots, load.free_cells) == (256, 256, load.cells)


async def test_a_call_needs_a_credential() -> None:
    async with world() as one, served(one) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.GetLoad(pb.GetLoadRequest())
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def generation(**changes: Any) -> pb.GenerateRequest:
    fields: dict[str, Any] = {"model": MANIFEST.name, "prompt_ids": [1, 500], "max_output": 7}
    sampling = request_pb2.Sampling(temperature=0.0, seed=5)
    return pb.GenerateRequest(**{"sampling": sampling, **fields, **changes})


async def test_a_diagnostic_generation_gives_ids_and_is_booked_as_such() -> None:
    async with world(with_settings(diagnostics=True)) as one, served(one) as stub:
        ids: list[int] = []
        last = None
        async for answer in stub.Generate(generation(), metadata=as_caller("operator")):
            ids += answer.ids
            last = answer
        assert len(ids) == 7
        assert last is not None
        assert last.reason == outcome.FINISH_REASON_LENGTH
        await one.ears.until(lambda: any(heard.usage for heard in one.ears.heard.values()))
        (heard,) = one.ears.heard.values()
        assert heard.usage[0].diagnostic
        assert heard.usage[0].choices[0].generated == 7
        assert one.ears.frames == []
        assert heard.replies == []


async def test_an_abandoned_diagnostic_generation_stops() -> None:
    async with world(with_settings(diagnostics=True, tokens_per_second=100.0)) as one, served(one) as stub:
        call = stub.Generate(generation(max_output=3_000), metadata=as_caller("operator"))
        await call.read()
        call.cancel()
        await one.ears.until(lambda: any(heard.usage for heard in one.ears.heard.values()))
        (heard,) = one.ears.heard.values()
        assert heard.usage[0].reason == outcome.FINISH_REASON_CANCELLED
        assert one.service.load().free_slots == 256


@pytest.mark.parametrize(
    ("diagnostics", "who", "changes", "code"),
    [
        (False, "operator", {}, grpc.StatusCode.PERMISSION_DENIED),
        (True, "tenant", {}, grpc.StatusCode.PERMISSION_DENIED),
        (True, "operator", {"model": "another"}, grpc.StatusCode.NOT_FOUND),
        (True, "operator", {"prompt_ids": []}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_diagnostic_generation_is_refused(
    diagnostics: bool, who: str, changes: dict[str, Any], code: grpc.StatusCode
) -> None:
    async with world(with_settings(diagnostics=diagnostics)) as one, served(one) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            async for _ in stub.Generate(generation(**changes), metadata=as_caller(who)):
                pass
        assert refusal.value.code() is code
