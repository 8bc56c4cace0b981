"""Chat completions over a real socket, with an owner that does what the test says."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from typing import Any

import pytest

from services.edge.answer import Answer, Piece, Submission
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError, Kind
from tests.integration.edge_front import (
    CHAT,
    DONE,
    KEY,
    MODEL,
    Edge,
    ask,
    ended,
    head,
    post,
    running_edge,
    say,
    wire,
)

STREAM = {**CHAT, "stream": True}


def events(body: bytes) -> list[Any]:
    """The JSON values of a body's events; `[DONE]` as text, comments left out."""
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(values: list[Any]) -> str:
    """The text of a stream's chunks."""
    chunks = [value for value in values if value != "[DONE]" and value.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


async def fill(answer: Answer) -> None:
    """Put text in, letting the transport take it, until the buffer takes no more."""
    for _ in itertools.count():
        if not answer.put(Piece(0, "x" * 32_768, 1)):
            return
        await asyncio.sleep(0.001)


async def test_a_plain_answer() -> None:
    async with running_edge() as edge:
        reply, closed = await ask(edge, post(CHAT))
        assert (reply.status, closed) == (200, False)
        value = json.loads(reply.body)
        answer = edge.owner.answers[0]
        assert value["id"] == f"chatcmpl-{answer.request}"
        assert reply.headers["x-request-id"] == answer.request
        assert value["choices"][0]["message"]["content"] == "Hello world"
        assert (edge.owner.sent, edge.owner.left) == (1, [])


async def test_the_owner_gets_all_that_the_wire_said() -> None:
    async with running_edge() as edge:
        body = json.dumps({**CHAT, "user": "somebody"}).encode()
        await ask(edge, post(body, "Idempotency-Key: once"))
        (submission,) = edge.owner.submissions
        assert submission.request.model == MODEL
        assert submission.request.user == "somebody"
        assert submission.principal.project == "one-project"
        assert submission.fingerprint == hashlib.sha256(body).digest()
        assert submission.body_bytes == len(body)
        assert submission.idempotency_key == "once"
        assert not submission.streamed
        (span,) = edge.telemetry.store.spans_of(edge.owner.answers[0].request)
        assert submission.trace == span.context


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


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (FreeholdError(Kind.OVERLOADED, "full", retry_after=3), 429, "3"),
        (FreeholdError(Kind.NOT_READY, "no moderation"), 503, "1"),
        (FreeholdError(Kind.BUDGET, "spent"), 429, None),
    ],
)
async def test_what_the_owner_does_not_take_is_answered_at_once(
    error: FreeholdError, status: int, retry_after: str | None
) -> None:
    def refuse(_: Answer, __: Submission) -> None:
        raise error

    async with running_edge() as edge:
        edge.owner.play = refuse
        reply, _ = await ask(edge, post(STREAM))
        assert reply.status == status
        assert reply.headers.get("retry-after") == retry_after
        assert reply.headers.get("x-should-retry") == ("false" if retry_after is None else None)
        assert reply.headers["x-request-id"]


async def test_a_failure_inside_tells_nothing_of_itself() -> None:
    def explode(_: Answer, __: Submission) -> None:
        raise RuntimeError("secret detail")

    async with running_edge() as edge:
        edge.owner.play = explode
        reply, _ = await ask(edge, post(CHAT))
        assert reply.status == 500
        assert reply.error["code"] == "internal_error"
        assert b"secret" not in reply.body


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
            await fill(answer)
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


async def test_two_choices_are_joined_apart() -> None:
    def play(answer: Answer, _: Submission) -> None:
        for choice, text in [(1, "b"), (0, "a"), (1, "B")]:
            answer.put(Piece(choice, text, 1))
        answer.finish(DONE)

    async with running_edge() as edge:
        edge.owner.play = play
        reply, _ = await ask(edge, post(CHAT))
        assert [choice["message"]["content"] for choice in json.loads(reply.body)["choices"]] == ["a", "bB"]


async def test_http_1_0_gets_plain_answers_only() -> None:
    async with running_edge() as edge:
        reply, closed = await ask(edge, post(CHAT).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (reply.status, closed) == (200, True)
        reply, _ = await ask(edge, post(STREAM).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (reply.status, reply.error["param"]) == (400, "stream")


async def test_a_body_may_come_in_chunks_and_after_100_continue() -> None:
    body = json.dumps(CHAT).encode()
    async with running_edge() as edge, wire(edge) as line:
        standard = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        await line.send(head("POST", "/v1/chat/completions", *standard))
        for octet in body:
            await line.send(b"1\r\n%c\r\n" % octet)
        await line.send(b"0\r\n\r\n")
        assert (await line.reply()).status == 200
        standard = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue")
        await line.send(head("POST", "/v1/chat/completions", *standard))
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.send(body)
        assert (await line.reply()).status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "\x80"])
async def test_an_idempotency_key_is_bounded(key: str) -> None:
    async with running_edge() as edge:
        reply, _ = await ask(edge, post(CHAT, f"Idempotency-Key: {key}"))
        assert (reply.status, reply.error["param"]) == (400, "Idempotency-Key")
        assert edge.owner.submissions == []


async def test_a_model_that_the_key_may_not_use_is_unknown_to_it() -> None:
    async with running_edge() as edge:
        edge.configuration.keys[f"key-{KEY}"].models.append("another")
        reply, _ = await ask(edge, post(CHAT))
        assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")
        assert edge.owner.submissions == []


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_clients_trace_is_continued_only_where_it_is_trusted(trusted: bool) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running_edge(trust_traceparent=trusted) as edge:
        await ask(edge, post(CHAT, f"traceparent: {parent}"))
        (span,) = edge.telemetry.store.spans_of(edge.owner.answers[0].request)
        assert (span.context.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c") is trusted
        assert span.parent.hex() == ("b7ad6b7169203331" if trusted else "")


async def test_a_request_is_counted_and_timed_by_route_and_status(edge_twice: Edge) -> None:
    value = edge_twice.telemetry.registry.get_sample_value
    chat = {"route": "/v1/chat/completions"}
    assert value("freehold_edge_http_requests_total", {**chat, "status": "200"}) == 1
    assert value("freehold_edge_http_requests_total", {**chat, "status": "401"}) == 1
    assert value("freehold_edge_http_requests_total", {"route": "unmatched", "status": "404"}) == 1
    assert value("freehold_edge_http_request_seconds_count", chat) == 2


@pytest.fixture
async def edge_twice() -> Any:
    """An edge that has answered three requests."""
    async with running_edge() as edge:
        await ask(edge, post(CHAT))
        await ask(edge, post(CHAT, key="wrong"))
        await ask(edge, head("GET", "/nothing"))
        yield edge
