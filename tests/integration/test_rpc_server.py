"""What every gRPC address of the platform does, whatever is served there."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from shared.bus.ports import BusTimeout
from shared.errors import FreeholdError, Kind
from shared.rpc.server import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, RpcServer
from shared.statuses import GRPC
from shared.storage.database import DatabaseError
from tests.integration.rpc_world import AUDIT, CALLERS, GET_CHECKPOINT, GOOD, failing, failure, served


async def test_health_is_free_and_not_ready_before_it_is_said() -> None:
    status = health_pb2.HealthCheckResponse.ServingStatus
    async with served() as (server, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        for ready, expected in (
            (None, status.NOT_SERVING),
            (True, status.SERVING),
            (False, status.NOT_SERVING),
        ):
            if ready is not None:
                await server.set_ready(ready)
            for name in ("", AUDIT):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == expected
        watched = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watched.read()).status == status.NOT_SERVING
        await server.set_ready(True)
        assert (await watched.read()).status == status.SERVING


@pytest.mark.attack(45)
@pytest.mark.parametrize("metadata", [GOOD, ()], ids=["with", "without"])
async def test_too_much_metadata_is_refused(metadata: tuple[tuple[str, str], ...]) -> None:
    async with served() as (_, channel):
        for extra in (
            (("x-large", "a" * (MAX_METADATA_BYTES + 1)),),
            tuple((f"x-{number}", "a" * 50) for number in range(1000)),
        ):
            assert (await failure(channel, metadata + extra)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        modest = (*GOOD, ("x-modest", "a" * 8000))
        assert await channel.unary_unary(GET_CHECKPOINT)(b"", metadata=modest)


@pytest.mark.attack(45)
async def test_too_large_a_message_is_refused() -> None:
    async with served() as (_, channel):
        for size in (MAX_MESSAGE_BYTES + 1, 100 * 1024 * 1024):
            error = await failure(channel, payload=bytes(size))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary_unary(GET_CHECKPOINT)(b"", metadata=GOOD)


@pytest.mark.attack(45)
async def test_bytes_that_are_no_message_are_refused() -> None:
    async with served() as (_, channel):
        error = await failure(channel, payload=b"\xff" * 20)
        assert error.code() is not grpc.StatusCode.OK
        assert await channel.unary_unary(GET_CHECKPOINT)(b"", metadata=GOOD)


@pytest.mark.parametrize("kind", Kind)
async def test_an_outcome_has_its_status_and_says_the_rest_in_details(kind: Kind) -> None:
    error = FreeholdError(
        kind,
        "menolak: 拒绝 «é»",
        param="messages[0].content",
        rule="id-ktp",
        policy_version="base@3+0123456789ab",
        first_request="01890a5d-ac96-774b-bcce-b302099a8057",
    )
    async with served(failing(error)) as (_, channel):
        found = await failure(channel)
    assert found.code() is GRPC[kind]
    assert found.details() == error.message
    info = error_info(found)
    assert (info.reason, info.domain) == (kind.name, "freehold")
    assert dict(info.metadata) == {
        "code": kind.value,
        "param": error.param,
        "rule": error.rule,
        "policy_version": error.policy_version,
        "first_request": error.first_request,
    }


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.mark.attack(42)
@pytest.mark.parametrize("fault", [DatabaseError("/secret/path: disk full"), BusTimeout("broker:9092")])
async def test_a_fault_beneath_can_be_tried_again_and_tells_nothing(fault: Exception) -> None:
    async with served(failing(fault)) as (_, channel):
        found = await failure(channel)
    assert found.code() is grpc.StatusCode.UNAVAILABLE
    assert str(fault) not in (found.details() or "")


@pytest.mark.attack(42)
async def test_an_unexpected_error_tells_nothing() -> None:
    async with served(failing(RuntimeError("the secret of the house"))) as (_, channel):
        found = await failure(channel)
    assert found.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (found.details() or "")
    assert error_info(found).reason == "INTERNAL"


@pytest.mark.parametrize("unix", [False, True])
async def test_an_address_in_use_is_one_clear_error(tmp_path: Path, unix: bool) -> None:
    first, second = RpcServer(CALLERS.get), RpcServer(CALLERS.get)
    address = f"unix:{tmp_path}/s"
    port = await first.start(address if unix else "127.0.0.1:0", [], reflect=False)
    address = address if unix else f"127.0.0.1:{port}"
    with pytest.raises(FreeholdError) as refused:
        await second.start(address, [], reflect=False)
    assert refused.value.kind is Kind.NOT_READY
    assert refused.value.message == f"cannot listen on {address}: Address already in use"
    await first.stop(0)
    again = RpcServer(CALLERS.get)
    await again.start(address, [], reflect=False)
    await again.stop(0)
    await second.stop(0)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "192.0.2.1:0", f"unix:/tmp/{'a' * 120}"])
async def test_an_address_that_cannot_be_had_is_one_clear_error(address: str) -> None:
    server = RpcServer(CALLERS.get)
    with pytest.raises(FreeholdError) as refused:
        await server.start(address, [], reflect=False)
    assert refused.value.message.startswith(f"cannot listen on {address}: ")
    await server.stop(0)


async def test_a_socket_that_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/s")
    async with served(address=address) as (_, channel):
        assert await channel.unary_unary(GET_CHECKPOINT)(b"", metadata=GOOD)
