"""How answers are written, over a real socket: as they come, broken off, silent, unread."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.edge.answer import Piece
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError, Kind
from tests.integration.edge_front import CHAT, DONE, ended, running_edge, say
from tests.integration.edge_wire import ask, fill, post, wire

STREAM = {**CHAT, "stream": True}


def events(body: bytes) -> list[Any]:
    """The JSON values of a body's events; `[DONE]` as text, comments left out."""
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(values: list[Any]) -> str:
    """The text of a stream's chunks."""
    chunks = [value for value in values if value != "[DONE]" and value.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


async def test_a_stream() -> None:
    async with running_edge() as edge:
        reply, closed = await ask(edge, post({**STREAM, "stream_options": {"include_usage": True}}))
        assert (reply.status, closed) == (200, False)
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["x-request-id"] == edge.owner.answers[0].request
        values = events(reply.body)
        assert values[-1] == "[DONE]"
        assert text_of(values) == "Hello world"
        assert values[-2]["usage"]["completion_tokens"] == 3
        assert values[-2]["freehold"]["verdict"] == "allow"
        assert edge.owner.submissions[0].streamed
        assert edge.owner.left == []


async def test_text_goes_out_as_it_comes() -> None:
    """Each piece arrives before the next is made; what is ready together arrives together."""
    async with running_edge() as edge, wire(edge) as line:
        edge.owner.play = say("one", end=None)
        await line.send(post(STREAM))
        head_lines = await line.reader.readuntil(b"\r\n\r\n")
        assert head_lines.startswith(b"HTTP/1.1 200")
        chunks = line.chunks()
        assert text_of(events(await anext(chunks))) == "one"
        (answer,) = edge.owner.answers
        answer.put(Piece(0, "two", 1))
        answer.put(Piece(0, "three", 1))
        together = events(await anext(chunks))
        assert [chunk["choices"][0]["delta"]["content"] for chunk in together] == ["two", "three"]
        answer.finish(DONE)
        assert events(b"".join([chunk async for chunk in chunks]))[-1] == "[DONE]"


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_a_refusal_keeps_its_status(body: dict[str, Any]) -> None:
    error = FreeholdError(Kind.POLICY, "refused", rule="weapons.1", policy_version="base@1+x")
    async with running_edge() as edge:
        edge.owner.play = say(end=ended(error, outcome.TERMINAL_STATE_REFUSED))
        reply, closed = await ask(edge, post(body))
        assert (reply.status, closed) == (400, False)
        assert reply.error["code"] == "content_policy_violation"
        assert (reply.error["rule"], reply.error["policy_version"]) == ("weapons.1", "base@1+x")
        assert reply.error["request_id"] == reply.headers["x-request-id"] == edge.owner.answers[0].request
        assert reply.headers["x-should-retry"] == "false"
        assert edge.owner.left == []


async def test_an_error_in_mid_stream_is_an_event_and_no_done_follows() -> None:
    async with running_edge() as edge:
        edge.owner.play = say("Hello", end=ended(FreeholdError(Kind.FAILED, "lost")))
        reply, closed = await ask(edge, post(STREAM))
        assert (reply.status, closed) == (200, False)
        values = events(reply.body)
        assert text_of(values[:-1]) == "Hello"
        assert values[-1]["error"]["code"] == "failed"
        assert "[DONE]" not in values


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_a_client_that_leaves_before_the_answer_is_known_to_its_owner(body: dict[str, Any]) -> None:
    async with running_edge() as edge:
        edge.owner.play = say(end=None)
        async with wire(edge) as line:
            await line.send(post(body))
            await edge.owner.begun.wait()
        async with asyncio.timeout(2):
            await edge.owner.gone.wait()
        assert edge.owner.left == ["client_gone"]
        assert edge.owner.sent == 0


async def test_a_client_that_leaves_in_mid_stream_is_known_to_its_owner() -> None:
    async with running_edge() as edge:
        edge.owner.play = say("Hello", end=None)
        async with wire(edge) as line:
            await line.send(post(STREAM))
            await line.reader.readuntil(b"Hello")
        async with asyncio.timeout(2):
            await edge.owner.gone.wait()
        assert edge.owner.left == ["client_gone"]


async def test_silence_is_broken_by_comments_and_a_late_refusal_is_an_event() -> None:
    async with running_edge(comment_s=0.1) as edge, wire(edge) as line:
        edge.owner.play = say(end=None)
        await line.send(post(STREAM))
        assert (await line.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        chunks = line.chunks()
        assert (await anext(chunks)).startswith(b": ")
        assert (await anext(chunks)).startswith(b": ")
        edge.owner.answers[0].finish(ended(FreeholdError(Kind.EXPIRED, "late")))
        values = events(b"".join([chunk async for chunk in chunks]))
        assert values[-1]["error"]["code"] == "deadline_exceeded"


async def test_a_plain_answer_waits_in_silence() -> None:
    async with running_edge(comment_s=0.1) as edge, wire(edge) as line:
        edge.owner.play = say("late", end=None)
        await line.send(post(CHAT))
        with pytest.raises(TimeoutError):
            await line.reply(within=0.4)
        edge.owner.answers[0].finish(DONE)
        assert (await line.reply()).status == 200


async def test_a_reader_that_stops_fills_only_its_own_buffer() -> None:
    """The transport takes no more than the socket does; the owner sees the buffer full; others go on."""
    async with running_edge() as edge, wire(edge) as slow:
        edge.owner.play = say(end=None)
        await slow.send(post(STREAM))
        await edge.owner.begun.wait()
        (answer,) = edge.owner.answers
        async with asyncio.timeout(10):
            taken = await fill(answer)
        assert taken < 1_500_000, "the answer's buffer, the transport's, and the system's on both sides"
        edge.owner.play = say("quick")
        reply, _ = await ask(edge, post(CHAT))
        assert reply.status == 200


async def test_a_reader_that_takes_nothing_is_cut_in_the_end() -> None:
    async with running_edge(stalled_s=0.2) as edge, wire(edge) as slow:
        edge.owner.play = say(end=None)
        await slow.send(post(STREAM))
        await edge.owner.begun.wait()
        (answer,) = edge.owner.answers
        async with asyncio.timeout(10):
            await fill(answer)
            await edge.owner.gone.wait()
        assert edge.owner.left == ["client_gone"]
