"""Who may call, and who is told what, on every gRPC address of the platform."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from shared import contracts
from shared.contracts.freehold.audit.v1 import audit_pb2, audit_pb2_grpc
from shared.rpc.channel import connect
from shared.rpc.server import RpcServer
from tests.integration.rpc_world import AUDIT, CALLERS, GOOD, failure, served

UNKNOWN = "/freehold.audit.v1.Audit/Nothing"

WRONG: dict[str, tuple[tuple[str, str], ...]] = {
    "none": (),
    "empty": (("authorization", ""),),
    "no secret": (("authorization", "Bearer "),),
    "null": (("authorization", "Bearer null"),),
    "unknown": (("authorization", "Bearer goo"),),
    "longer": (("authorization", "Bearer good "),),
    "another scheme": (("authorization", "Basic good"),),
    "bare": (("authorization", "good"),),
    "two": (("authorization", "Bearer good"), ("authorization", "Bearer good")),
    "another header": (("x-api-key", "good"),),
    "statement": (("authorization", "Bearer ' OR 1=1 --"),),
}


@pytest.mark.parametrize("unix", [False, True])
async def test_the_servicer_knows_who_calls(tmp_path: Path, unix: bool) -> None:
    async with served(address=f"unix:{tmp_path}/s" if unix else "127.0.0.1:0") as (_, channel):
        stub = audit_pb2_grpc.AuditStub(channel)
        for secret, expected in (("good", "acme/k"), ("root", "/operator"), ("good", "acme/k")):
            answer = await stub.GetCheckpoint(
                audit_pb2.GetCheckpointRequest(), metadata=(("authorization", f"Bearer {secret}"),)
            )
            assert answer.checkpoint == expected


async def test_a_channel_carries_its_token(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with served(address=address), connect(address, "good") as channel:
        stub = audit_pb2_grpc.AuditStub(channel)
        assert (await stub.GetCheckpoint(audit_pb2.GetCheckpointRequest())).checkpoint == "acme/k"
        own = (("x-own", "1"),)
        assert await stub.GetCheckpoint(audit_pb2.GetCheckpointRequest(), metadata=own)
    async with served(address=address), connect(address) as channel:
        assert (await failure(channel, metadata=())).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.attack(1, 2)
async def test_every_wrong_credential_gets_the_same_answer() -> None:
    async with served() as (_, channel):
        found = {name: await failure(channel, metadata) for name, metadata in WRONG.items()}
    assert {name: error.code() for name, error in found.items()} == dict.fromkeys(
        WRONG, grpc.StatusCode.UNAUTHENTICATED
    )
    assert len({(error.details(), str(error.trailing_metadata())) for error in found.values()}) == 1


def contract_modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(contracts.__path__, f"{contracts.__name__}.")]
    return [importlib.import_module(name) for name in names if name.endswith("_pb2")]


METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for module in contract_modules()
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


async def call(
    channel: grpc.aio.Channel, path: str, metadata: tuple[tuple[str, str], ...]
) -> grpc.StatusCode:
    assert not METHODS[path].client_streaming
    ask = channel.unary_stream if METHODS[path].server_streaming else channel.unary_unary
    return await ask(path)(b"", metadata=metadata, timeout=10).code()


@pytest.mark.attack(6)
async def test_every_method_of_every_contract_needs_a_credential() -> None:
    server = RpcServer(CALLERS.get)
    for module in contract_modules():
        if module.DESCRIPTOR.services_by_name:
            stubs = importlib.import_module(f"{module.__name__}_grpc")
            for name in module.DESCRIPTOR.services_by_name:
                servicer = getattr(stubs, f"{name}Servicer")()
                getattr(stubs, f"add_{name}Servicer_to_server")(servicer, server.server)
    port = await server.start("127.0.0.1:0", [], reflect=False)
    assert len(METHODS) > 30
    assert any(method.server_streaming for method in METHODS.values())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        without = {path: await call(channel, path, ()) for path in METHODS}
        known = {path: await call(channel, path, GOOD) for path in METHODS}
    await server.stop(0)
    assert without == dict.fromkeys(METHODS, grpc.StatusCode.UNAUTHENTICATED)
    assert known == dict.fromkeys(METHODS, grpc.StatusCode.UNIMPLEMENTED)


@pytest.mark.attack(6, 45)
async def test_a_method_that_is_not_there_is_told_only_to_those_who_may_call() -> None:
    async with served() as (_, channel):
        ask = channel.unary_unary(UNKNOWN)
        assert await ask(b"").code() is grpc.StatusCode.UNAUTHENTICATED
        assert await ask(b"", metadata=GOOD).code() is grpc.StatusCode.UNIMPLEMENTED


async def reflect(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    stream = stub.ServerReflectionInfo(iter([asked]), metadata=metadata, timeout=10)
    return sorted([one.name async for answer in stream for one in answer.list_services_response.service])


async def refused_reflection(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]
) -> grpc.StatusCode:
    """The answer to a stream on which nothing is sent: a client that is still sending when the answer
    comes calls it an internal error of its own."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return await stub.ServerReflectionInfo(metadata=metadata, timeout=10).code()


@pytest.mark.attack(45)
async def test_reflection_needs_a_credential_and_lists_what_is_served() -> None:
    async with served() as (_, channel):
        assert await refused_reflection(channel, ()) is grpc.StatusCode.UNAUTHENTICATED
        assert await reflect(channel, GOOD) == [
            AUDIT,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        ]


async def test_reflection_is_a_setting() -> None:
    async with served(reflect=False) as (_, channel):
        assert await refused_reflection(channel, GOOD) is grpc.StatusCode.UNIMPLEMENTED
