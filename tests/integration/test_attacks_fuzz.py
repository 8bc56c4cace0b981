"""Damaged bodies and damaged requests over a real socket: never a 500, never silence."""

from __future__ import annotations

import asyncio
import json
import random
import string

from tests.integration.edge_front import CHAT, Edge, running_edge
from tests.integration.edge_wire import post, wire

FULL = {
    **CHAT,
    "messages": [
        {"role": "system", "content": "a\u00e9\U0001f600"},
        {"role": "user", "content": [{"type": "text", "text": "b\n"}]},
    ],
    "temperature": 0.5,
    "max_tokens": 5,
    "stop": ["x"],
    "seed": 7,
    "n": 1,
    "logit_bias": {},
    "metadata": {"k": "v"},
    "stream": False,
}
TOKENS = [
    "null",
    "NaN",
    "1e999",
    "-1",
    "[]",
    "{}",
    '"',
    ",",
    "\\ud800",
    "\\u0000",
    "[" * 40,
    "9" * 30,
    ":",
    "\\",
    "true",
]


def damaged(chance: random.Random, data: bytes, tokens: list[bytes]) -> bytes:
    """One to four bytes changed, cut out or doubled, or tokens put in."""
    octets = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(octets))
        match chance.randrange(4):
            case 0:
                octets[at] = chance.randrange(256)
            case 1:
                del octets[at : at + chance.randint(1, 8)]
            case 2:
                octets[at:at] = octets[at : at + chance.randint(1, 8)]
            case _:
                octets[at:at] = chance.choice(tokens)
    return bytes(octets)


async def test_damaged_bodies_are_answered_and_the_connection_goes_on() -> None:
    chance = random.Random(1)
    body = json.dumps(FULL).encode()
    seen: set[int] = set()
    async with running_edge() as edge, wire(edge) as line:
        for _ in range(400):
            await line.send(post(damaged(chance, body, [token.encode() for token in TOKENS])))
            seen.add((await line.reply()).status)
    assert seen <= {200, 400, 404}
    assert {200, 400} <= seen


async def one(edge: Edge, data: bytes) -> int:
    """The status of the first answer; 0 where the server ended the connection without one."""
    async with wire(edge) as line:
        await line.send(data)
        try:
            return (await line.reply()).status
        except (EOFError, ConnectionError):
            return 0


async def test_damaged_requests_are_answered_or_cut_in_time() -> None:
    chance = random.Random(2)
    tokens = [
        b"\r\n",
        b"\n",
        b"\x00",
        b" ",
        b":",
        b"\t",
        b"Host: a\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\x80",
    ]
    tokens += [character.encode() for character in string.punctuation]
    request = post(FULL)
    head = request.index(b"\r\n\r\n") + 4
    async with running_edge(headers_s=0.5, body_s=0.5, idle_s=0.5, max_connections=512) as edge:
        for _ in range(4):
            cases = [damaged(chance, request[:head], tokens) + request[head:] for _ in range(100)]
            seen = set(await asyncio.gather(*(one(edge, data) for data in cases)))
            assert seen <= {0, 200, 400, 401, 404, 405, 408, 413, 415, 431}
            assert 400 in seen
        assert await one(edge, request) == 200
