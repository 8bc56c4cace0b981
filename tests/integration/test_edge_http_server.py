"""The server itself: ports, stopping, failing."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.edge.answer import Piece
from shared.errors import FreeholdError, Kind
from shared.listening import listening
from tests.integration.edge_front import CHAT, DONE, HOST, running_edge, say
from tests.integration.edge_wire import ask, post, wire

STREAM = {**CHAT, "stream": True}


async def test_a_used_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for setting in ("http_port", "grpc_port"):
            with pytest.raises(FreeholdError) as caught:
                async with running_edge(**{setting: port}):
                    pass
            assert caught.value.kind is Kind.NOT_READY
            assert f"127.0.0.1:{port}" in caught.value.message
            assert "\n" not in caught.value.message


async def test_after_a_failed_start_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        http = free.getsockname()[1]
        free.close()
        with pytest.raises(FreeholdError):
            async with running_edge(http_port=http, grpc_port=taken.getsockname()[1]):
                pass
        listening("127.0.0.1", http, "PORT").close()


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    with pytest.raises(FreeholdError, match=r"192\.0\.2\.1:1"):
        listening("192.0.2.1", 1, "PORT")


async def test_a_stop_lets_running_answers_end_and_takes_nothing_new() -> None:
    async with running_edge() as edge, wire(edge) as line, wire(edge) as idle:
        edge.owner.play = say("one", end=None)
        await line.send(post(STREAM))
        await line.reader.readuntil(b"one")
        stopping = asyncio.ensure_future(edge.service.stop(HOST.clock.monotonic() + 10))
        assert await idle.closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", edge.service.http_port)
        assert not edge.service.readiness().ready
        edge.owner.answers[0].finish(DONE)
        assert await line.reader.readuntil(b"[DONE]\n\n")
        async with asyncio.timeout(5):
            await stopping
        assert edge.owner.left == []


async def test_a_stop_cuts_what_has_not_ended_by_its_deadline() -> None:
    async with running_edge() as edge, wire(edge) as line:
        edge.owner.play = say("one", end=None)
        await line.send(post(STREAM))
        await line.reader.readuntil(b"one")
        async with asyncio.timeout(5):
            await edge.service.stop(HOST.clock.monotonic() + 0.2)
        assert edge.owner.left == ["client_gone"]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await line.reader.readuntil(b"[DONE]")


async def test_a_failure_in_a_route_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def explode(*_: Any) -> Any:
        raise RuntimeError("secret detail")

    async with running_edge() as edge:
        edge.sources.usage = explode  # type: ignore[method-assign]
        reply, _ = await ask(edge, post(CHAT).replace(b"POST /v1/chat/completions", b"GET /v1/usage"))
        assert reply.status == 500
        assert reply.error["code"] == "internal_error"
        assert reply.headers["x-request-id"] == reply.error["request_id"]
        assert b"secret" not in reply.body
    assert any("secret detail" in str(record.exc_info) for record in caplog.records)


async def test_a_failure_in_mid_stream_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with running_edge() as edge, wire(edge) as line:
        edge.owner.play = say("one", end=None)
        await line.send(post(STREAM))
        await line.reader.readuntil(b"one")
        (answer,) = edge.owner.answers
        answer._pieces.append(Piece(0, "\ud800", 1))
        answer.finish(DONE)
        assert not (await line.reader.read()).endswith(b"0\r\n\r\n")
        assert edge.owner.left == ["client_gone"]
    assert caplog.records


async def test_health_is_told_without_a_key_over_grpc() -> None:
    async with running_edge() as edge:
        target = f"127.0.0.1:{edge.service.grpc_port}"
        async with grpc.aio.insecure_channel(target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            async with asyncio.timeout(5):
                reply = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
