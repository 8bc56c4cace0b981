"""OpenAI's chat completions: from an answer to the wire, plain and in chunks. Pure.

A chunk is a byte template around `orjson.dumps(text)`: 0.2 us, against 7 for a model object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from services.edge.http.errors import error_value
from services.edge.submission import Outcome
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError

DONE = b"data: [DONE]\n\n"
COMMENT = b": still working\n\n"

_REASONS = {
    outcome.FINISH_REASON_LENGTH: "length",
    outcome.FINISH_REASON_TOOL_CALLS: "tool_calls",
}
_NANOS = 1_000_000_000


class Heading(NamedTuple):
    """What all parts of an answer repeat."""

    request: str
    created: int
    """Unix seconds."""
    model: str
    fingerprint: str
    """Of weights and tokenizer: what OpenAI calls `system_fingerprint`."""


def fingerprint_of(weights_digest: str, tokenizer_digest: str) -> str:
    """Short name of a backend: with another one, equal seeds may give other text."""
    return f"fp_{weights_digest[:8]}{tokenizer_digest[:8]}"


def receipt_url(request: str) -> str:
    """Where a request's receipt is, or will be."""
    return f"/v1/receipts/{request}"


def evidence_of(request: str, end: Outcome) -> dict[str, Any]:
    """The `freehold` object: what the answer was produced under, counted and priced."""
    return {
        "request_id": request,
        "weights_digest": end.weights_digest,
        "tokenizer_digest": end.tokenizer_digest,
        "template_digest": end.template_digest,
        "policy_versions": end.policy_versions,
        "verdict": outcome.Verdict.Name(end.verdict).removeprefix("VERDICT_").lower(),
        "rules": end.rules,
        "tokens": {"generated": end.generated, "delivered": end.delivered, "billed": end.billed},
        "price": {
            "nanos": end.price,
            "amount": f"{end.price // _NANOS}.{end.price % _NANOS:09d}",
            "currency": end.currency,
            "version": end.price_version,
        },
        "budget_limited": end.limited,
        "receipt": {"id": request, "url": receipt_url(request)},
    }


def _usage(end: Outcome) -> dict[str, Any]:
    return {
        "prompt_tokens": end.prompt,
        "completion_tokens": end.delivered,
        "total_tokens": end.prompt + end.delivered,
        "prompt_tokens_details": {"cached_tokens": end.cached},
    }


def plain_body(heading: Heading, texts: Sequence[str], end: Outcome) -> bytes:
    """The body of a completed answer; `texts` by choice."""
    reason = _REASONS.get(end.finish, "stop")
    return orjson.dumps(
        {
            "id": f"chatcmpl-{heading.request}",
            "object": "chat.completion",
            "created": heading.created,
            "model": heading.model,
            "service_tier": "default",
            "system_fingerprint": heading.fingerprint,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": reason,
                }
                for index, text in enumerate(texts)
            ],
            "usage": _usage(end),
            "freehold": evidence_of(heading.request, end),
        }
    )


class Chunks:
    """Makes the events of one streamed answer."""

    __slots__ = ("_heading", "_include_usage", "_last", "_open")

    def __init__(self, heading: Heading, include_usage: bool) -> None:
        self._heading = heading
        self._include_usage = include_usage
        self._open = (
            b'data: {"id":"chatcmpl-%s","object":"chat.completion.chunk","created":%d,"model":%s,'
            b'"service_tier":"default","system_fingerprint":"%s","choices":['
            % (
                heading.request.encode(),
                heading.created,
                orjson.dumps(heading.model),
                heading.fingerprint.encode(),
            )
        )
        # With include_usage every chunk but the last says null.
        self._last = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"

    def begin(self, choice: int) -> bytes:
        """The first event of a choice."""
        return self._event(choice, b'{"role":"assistant","content":"","refusal":null}', b"null")

    def text(self, choice: int, text: str) -> bytes:
        """Vetted text of a choice."""
        return self._event(choice, b'{"content":%s}' % orjson.dumps(text), b"null")

    def end(self, choices: Sequence[int], end: Outcome) -> bytes:
        """The last events of a completed answer: reasons, usage where wanted, evidence, `[DONE]`."""
        reason = b'"%s"' % _REASONS.get(end.finish, "stop").encode()
        events = [self._event(choice, b"{}", reason) for choice in choices]
        evidence = orjson.dumps(evidence_of(self._heading.request, end))
        if self._include_usage:
            events.append(
                self._open + b'],"usage":%s,"freehold":%s}\n\n' % (orjson.dumps(_usage(end)), evidence)
            )
        else:
            events[-1] = events[-1][: -len(b"}\n\n")] + b',"freehold":%s}\n\n' % evidence
        return b"".join([*events, DONE])

    def error(self, error: FreeholdError, end: Outcome) -> bytes:
        """The last event of an answer that broke off; no `[DONE]` follows."""
        value = error_value(error, self._heading.request, evidence_of(self._heading.request, end))
        return b"data: %s\n\n" % orjson.dumps(value)

    def _event(self, choice: int, delta: bytes, reason: bytes) -> bytes:
        return b'%s{"index":%d,"delta":%s,"logprobs":null,"finish_reason":%s}%s' % (
            self._open,
            choice,
            delta,
            reason,
            self._last,
        )
