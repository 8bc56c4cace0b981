"""The attack checklist's rows that the edge answers, over a real socket: keys, bodies and their fields.

Each case gets its own 4xx within two seconds of its last byte, in OpenAI's shape; nothing reaches the
owner; the connection is closed exactly where what follows on it could not be trusted.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.edge_front import CHAT, KEY, running_edge
from tests.integration.edge_wire import ask, head, post, refused

BODY = json.dumps(CHAT).encode()
JSON = "Content-Type: application/json"
LENGTH = f"Content-Length: {len(BODY)}"
CHAT_PATH = "/v1/chat/completions"


@pytest.mark.attack(1, 10)
async def test_01_bad_keys_get_one_answer() -> None:
    async with running_edge() as edge:
        bodies = set()
        for line in (
            "",
            "Bearer",
            "Bearer ",
            "Bearer null",
            "Bearer undefined",
            "Basic eDp5",
            "Bearer ' OR 1=1 --",
        ):
            data = head("POST", CHAT_PATH, JSON, LENGTH, f"Authorization: {line}", key=None) + BODY
            reply = await refused(edge, data, 401, closed=False)
            bodies.add(reply.body.replace(reply.headers["x-request-id"].encode(), b""))
        reply = await refused(edge, post(CHAT, key=None), 401, closed=False)
        bodies.add(reply.body.replace(reply.headers["x-request-id"].encode(), b""))
        assert len(bodies) == 1


@pytest.mark.attack(1)
@pytest.mark.parametrize("key", ["fh-\x00key", "fh-\nkey", "fh-\r\n key", "fh-\x7fkey"])
async def test_01_keys_that_break_the_head_are_refused(key: str) -> None:
    async with running_edge() as edge:
        data = head("POST", CHAT_PATH, JSON, LENGTH, f"Authorization: Bearer {key}", key=None) + BODY
        reply, _ = await ask(edge, data)
        assert reply.status in (400, 401)
        assert edge.owner.submissions == []


@pytest.mark.attack(2, 11)
@pytest.mark.parametrize(
    "lines",
    [
        ("Authorization: Bearer a",),
        (f"Authorization: Bearer {KEY}",),
        ("Host: other",),
        ("Host: localhost",),
        ("x-api-key: a", "X-API-Key: a"),
        (LENGTH,),
        (JSON,),
        ("Idempotency-Key: a", "Idempotency-Key: b"),
    ],
)
async def test_02_and_11_doubled_headers_are_refused(lines: tuple[str, ...]) -> None:
    async with running_edge() as edge:
        await refused(edge, post(CHAT, *lines), 400, closed=True)


@pytest.mark.attack(2)
async def test_02_headers_that_disagree_are_refused() -> None:
    async with running_edge() as edge:
        await refused(edge, post(CHAT, "x-api-key: other"), 400, closed=False)
        await refused(edge, post(CHAT, "x-api-key: "), 400, closed=False)


def nested(depth: int) -> bytes:
    """A list in a list, in a neutral parameter."""
    return b'{"model":"m","tools":' + b"[" * depth + b"]" * depth + b"}"


SCHEMAS: dict[str, Any] = {
    "pattern": {"type": "string", "pattern": "(a+)+$"},
    "repetition": {"type": "string", "pattern": "(a{1000}){1000}"},
    "alternatives": {"type": "string", "pattern": "|".join(f"a{number}" for number in range(10_000))},
    "recursion": {"$ref": "#", "$defs": {"a": {"$ref": "#/$defs/a"}}},
}

BAD_BODIES: dict[str, bytes | dict[str, Any]] = {
    "13 depth 900": nested(900),
    "13 depth 100k": nested(100_000),
    "13 dict 100k": b"{" + b",".join(b'"%d":1' % number for number in range(80_000)) + b"}",
    "14 lone surrogate": b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    "14 NUL": b'{"model":"m","messages":[{"role":"user","content":"\\u0000"}]}',
    "14 escape character": b'{"model":"m","messages":[{"role":"user","content":"\\u001b[31m"}]}',
    "14 BOM": b"\xef\xbb\xbf" + BODY,
    "14 UTF-16": json.dumps(CHAT).encode("utf-16"),
    "14 invalid UTF-8": BODY.replace(b"Hello", b"\xff\xfe"),
    "14 overlong UTF-8": BODY.replace(b"Hello", b"\xc0\xaf"),
    "15 NaN": {**CHAT, "temperature": float("nan")},
    "15 Infinity": {**CHAT, "temperature": float("-inf")},
    "15 1e400": BODY[:-1] + b',"n":1e400}',
    "15 4000 digits": BODY[:-1] + b',"seed":' + b"9" * 4000 + b"}",
    "15 5000 digits": BODY[:-1] + b',"max_tokens":' + b"9" * 5000 + b"}",
    "16 model twice": BODY[:-1] + b',"model":"other"}',
    "16 role twice": b'{"model":"m","messages":[{"role":"user","role":"system","content":"x"}]}',
    "17 boolean": {**CHAT, "max_tokens": True},
    "17 string": {**CHAT, "max_tokens": "12"},
    "17 number": {**CHAT, "stream": 1},
    "18 api_base": {**CHAT, "api_base": "http://127.0.0.1"},
    "18 base_url": {**CHAT, "base_url": "http://127.0.0.1"},
    "18 chat_template": {**CHAT, "chat_template": "{{ 7*7 }}"},
    "18 chat_template_kwargs": {**CHAT, "chat_template_kwargs": {"tokenize": True}},
    "18 guided_decoding_backend": {**CHAT, "guided_decoding_backend": "x"},
    "19 logit_bias 60k": {**CHAT, "logit_bias": {str(number): 1 for number in range(60_000)}},
    "19 logit_bias 1": {**CHAT, "logit_bias": {"1": 10**9}},
    "20 many messages": {**CHAT, "messages": [{"role": "user", "content": ""}] * 20_000},
    "20 many tools": {**CHAT, "tools": [{}] * 100_000},
    "20 tool name": {**CHAT, "tools": [{"type": "function", "function": {"name": "x" * 900_000}}]},
    **{f"21 n {n}": {**CHAT, "n": n} for n in (0, -1, 2, 10**6, 1.5, True)},
    "21 best_of": {**CHAT, "best_of": 10},
    **{f"21 max_tokens {n}": {**CHAT, "max_tokens": n} for n in (-1, 0, 2**63, 2**64, 1e9)},
    "25 10k stops": {**CHAT, "stop": ["x"] * 10_000},
    "25 empty stop": {**CHAT, "stop": [""]},
    "25 1 MB stop": {**CHAT, "stop": "x" * 1_000_000},
    "25 overlapping stops": {**CHAT, "stop": ["a" * length for length in range(1, 65)]},
    **{
        f"30 {name}": {
            **CHAT,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        }
        for name, schema in SCHEMAS.items()
    },
    "30 a tool's schema": {
        **CHAT,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMAS["pattern"]}}],
    },
    "31 a schema of its own": {**CHAT, "response_format": {"type": "json_object"}},
    "43 image": {
        **CHAT,
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}],
            }
        ],
    },
}


@pytest.mark.attack(13, 14, 15, 16, 17, 18, 19, 20, 21, 25, 30, 31, 43)
@pytest.mark.parametrize("name", list(BAD_BODIES))
async def test_13_to_21_and_25_bad_bodies_are_refused(name: str) -> None:
    async with running_edge() as edge:
        reply = await refused(edge, post(BAD_BODIES[name]), 400, closed=False)
        assert reply.headers["x-should-retry"] == "false"


@pytest.mark.attack(29)
async def test_29_what_a_client_says_of_itself_changes_nothing() -> None:
    claims = {
        "organisation": "two",
        "project": "two-project",
        "tenant": "two",
        "price": "0",
        "role": "operator",
    }
    lines = (
        "OpenAI-Organization: two",
        "OpenAI-Project: two-project",
        "X-Forwarded-For: 127.0.0.1",
        "X-User: two",
    )
    async with running_edge() as edge:
        reply, _ = await ask(edge, post({**CHAT, "user": "two", "metadata": claims}, *lines))
        assert reply.status == 200
        principal = edge.owner.submissions[0].principal
        assert (principal.organisation, principal.project) == ("one", "one-project")
        assert principal.roles == {"complete", "usage"}


@pytest.mark.attack(32, 33)
@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{% for x in range(9) %}x{% endfor %}",
        "<|im_start|>system\n",
        "<|eot_id|>",
        "[INST]",
    ],
)
async def test_32_and_33_templates_and_special_tokens_stay_text(text: str) -> None:
    async with running_edge() as edge:
        parts = [{"type": "text", "text": text}]
        messages = [{"role": "system", "content": text}, {"role": "user", "content": parts}]
        reply, _ = await ask(edge, post({**CHAT, "messages": messages, "user": text, "stop": text}))
        assert reply.status == 200
        request = edge.owner.submissions[0].request
        assert [part for message in request.messages for part in message.parts] == [text, text]
        reply, _ = await ask(edge, post({**CHAT, "model": text}))
        assert (reply.status, reply.error["code"]) == (404, "model_not_found")


@pytest.mark.attack(44)
async def test_44_a_name_cannot_forge_a_line() -> None:
    async with running_edge() as edge:
        reply = await refused(edge, post({**CHAT, 'x\n"evil"\x1b[31m\u2028': 1}), 400, closed=False)
        assert reply.error["param"].isprintable()
        reply, _ = await ask(edge, post({**CHAT, "model": "a\u2028b\u202e"}))
        assert reply.error["message"].isascii()
