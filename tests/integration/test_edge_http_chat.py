"""Chat completions over a real socket, with an owner that does what the test says."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from services.edge.answer import Answer, Piece, Submission
from shared.errors import FreeholdError, Kind
from tests.integration.edge_front import CHAT, DONE, KEY, MODEL, Edge, running_edge
from tests.integration.edge_wire import ask, head, post, wire

STREAM = {**CHAT, "stream": True}


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


@pytest.mark.attack(42)
async def test_a_failure_inside_tells_nothing_of_itself() -> None:
    def explode(_: Answer, __: Submission) -> None:
        raise RuntimeError("secret detail")

    async with running_edge() as edge:
        edge.owner.play = explode
        reply, _ = await ask(edge, post(CHAT))
        assert reply.status == 500
        assert reply.error["code"] == "internal_error"
        assert b"secret" not in reply.body


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


@pytest.mark.attack(7)
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
