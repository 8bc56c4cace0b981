"""Answers and errors on the wire, read back by OpenAI's own types."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.edge.dialects.openai_answers import Chunks, Heading, fingerprint_of, plain_body
from services.edge.http.errors import error_headers, error_value, refusal
from services.edge.submission import Outcome
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError, Kind
from shared.statuses import HTTP

HEADING = Heading("01a2-request", 1_700_000_000, 'm "quoted"', fingerprint_of("ab" * 32, "cd" * 32))
END = Outcome(
    state=outcome.TERMINAL_STATE_COMPLETED,
    finish=outcome.FINISH_REASON_LENGTH,
    prompt=10,
    cached=4,
    generated=7,
    delivered=5,
    billed=5,
    price=1_000_000_001,
    currency="EUR",
    price_version="3",
    policy_versions=("base@1+x",),
    verdict=outcome.VERDICT_REDACT,
    rules=("pii.email",),
)
TEXTS = ["plain", 'a "b" \\ \n\t', "ภาษาไทย العربية 中文 \U0001f600", "\u2028</script>\x7f"]


def events(data: bytes) -> list[Any]:
    """The JSON values of events; `[DONE]` as text."""
    parts = [part.removeprefix("data: ") for part in data.decode().split("\n\n")[:-1]]
    return [part if part == "[DONE]" else json.loads(part) for part in parts]


def test_a_plain_body_is_openais() -> None:
    body = plain_body(HEADING, TEXTS, END)
    value = json.loads(body)
    answer = ChatCompletion.model_validate(value)
    assert answer.id == "chatcmpl-01a2-request"
    assert [choice.message.content for choice in answer.choices] == TEXTS
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        10,
        5,
        15,
    )
    assert value["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    evidence = value["freehold"]
    assert evidence["price"] == {
        "nanos": 1_000_000_001,
        "amount": "1.000000001",
        "currency": "EUR",
        "version": "3",
    }
    assert evidence["verdict"] == "redact"
    assert evidence["rules"] == ["pii.email"]
    assert evidence["receipt"]["url"] == "/v1/receipts/01a2-request"
    assert evidence["tokens"] == {"generated": 7, "delivered": 5, "billed": 5}


@pytest.mark.parametrize("include_usage", [False, True])
def test_chunks_are_openais(include_usage: bool) -> None:
    chunks = Chunks(HEADING, include_usage)
    data = chunks.begin(0) + b"".join(chunks.text(0, text) for text in TEXTS) + chunks.end([0], END)
    *values, done = events(data)
    assert done == "[DONE]"
    read = [ChatCompletionChunk.model_validate(value) for value in values]
    assert {chunk.id for chunk in read} == {"chatcmpl-01a2-request"}
    assert {chunk.model for chunk in read} == {'m "quoted"'}
    assert read[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in read[1:5]] == TEXTS
    reasons = [chunk.choices[0].finish_reason for chunk in read if chunk.choices]
    assert reasons == [None] * 5 + ["length"]
    assert values[-1]["freehold"]["price"]["nanos"] == 1_000_000_001
    assert all("freehold" not in value for value in values[:-1])
    if include_usage:
        assert values[-1]["choices"] == []
        assert values[-1]["usage"]["completion_tokens"] == 5
        assert all(value["usage"] is None for value in values[:-1])
    else:
        assert all("usage" not in value for value in values)


def test_two_choices_end_apart() -> None:
    *values, done = events(Chunks(HEADING, include_usage=False).end([0, 1], END))
    assert done == "[DONE]"
    assert [value["choices"][0]["index"] for value in values] == [0, 1]
    assert ["freehold" in value for value in values] == [False, True]


def test_a_broken_stream_ends_with_an_error_and_without_done() -> None:
    error = FreeholdError(Kind.POLICY, "refused", rule="weapons.1", policy_version="base@1+x")
    refused = dataclasses.replace(END, error=error, state=outcome.TERMINAL_STATE_REFUSED)
    (value,) = events(Chunks(HEADING, include_usage=True).error(error, refused))
    assert value["error"] == {
        "message": "refused",
        "type": "invalid_request_error",
        "param": None,
        "code": "content_policy_violation",
        "request_id": "01a2-request",
        "rule": "weapons.1",
        "policy_version": "base@1+x",
    }
    assert value["freehold"]["rules"] == ["pii.email"]


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_whole_answer(kind: Kind) -> None:
    error = FreeholdError(kind, "why", param="p", retry_after=6.2504)
    headers = dict(error_headers(error, "r", b"12"))
    row = HTTP[kind]
    assert headers[b"x-request-id"] == b"r"
    assert headers[b"content-length"] == b"2"
    assert (headers.get(b"x-should-retry") == b"false") is not row.retry
    assert headers.get(b"retry-after") == (b"7" if row.retry and row.status in (429, 503) else None)
    assert headers.get(b"retry-after-ms") == (b"6251" if b"retry-after" in headers else None)
    assert (headers.get(b"connection") == b"close") is row.close
    head, body = refusal(error, "r").split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % row.status)
    assert head.count(b"connection: close") == 1
    assert json.loads(body)["error"]["param"] == "p"


def test_an_error_names_the_first_request_of_a_repeated_key() -> None:
    value = error_value(FreeholdError(Kind.REPEATED, "again", first_request="first"), "r")
    assert value["error"]["first_request"] == "first"
    assert "freehold" not in value
