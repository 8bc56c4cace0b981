"""The edge's HTTP/1.1 against requests that hide another one: what is hidden is never answered as a request.

Each case is a carrier that two servers could frame differently, and behind it, where one of them would look,
a request that only the attacker wants. The hidden one has a key of its own, so that it is known if it runs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given

from tests.fuzz.conftest import CHANCES, worlds
from tests.fuzz.mutations import damaged
from tests.fuzz.served import Served
from tests.integration.edge_front import CHAT, KEY, OTHER_KEY
from tests.integration.edge_wire import head, post, wire

HIDDEN = post(CHAT, key=OTHER_KEY)
LENGTH = f"Content-Length: {len(HIDDEN)}"
JSON = "Content-Type: application/json"
CHAT_PATH = "/v1/chat/completions"
CODINGS = (
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked\x00",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: \r\n chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    " Transfer-Encoding: chunked",
    "transfer_encoding: chunked",
    'Transfer-Encoding: "chunked"',
)
LENGTHS = (
    "Content-Length: 0",
    LENGTH,
    f"Content-Length: +{len(HIDDEN)}",
    f"Content-Length: 0{len(HIDDEN)}",
    f"Content-Length: {len(HIDDEN)}, {len(HIDDEN)}",
    f"Content-Length: {len(HIDDEN)}\r\nContent-Length: 0",
    f"Content-Length : {len(HIDDEN)}",
    f"Content-Length: 0x{len(HIDDEN):x}",
    f"Content-Length: {len(HIDDEN)} ",
    "Content-Length: 18446744073709551616",
)
CHUNKS = (
    b"0\r\n\r\n",
    b"0;x=\r\n\r\n",
    b"00000\r\n\r\n",
    b"0 \r\n\r\n",
    b"0\n\n",
    b"-0\r\n\r\n",
    b"0x0\r\n\r\n",
    b"\r\n\r\n",
)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served(headers_s=0.5, body_s=0.5, idle_s=0.5, max_connections=512)
    yield made
    made.close()


async def sent(served: Served, data: bytes) -> list[str]:
    """Whose requests ran, by the project of their key, once the connection has ended."""
    edge = served.edge
    edge.owner.submissions.clear()
    async with wire(edge) as line:
        await line.send(data)
        await line.reader.read()
    return [submission.principal.project for submission in edge.owner.submissions]


@pytest.mark.attack(11)
@pytest.mark.parametrize("coding", CODINGS)
def test_11_nothing_hides_between_a_length_and_a_coding(served: Served, coding: str) -> None:
    for length in LENGTHS[:2]:
        for first, second in ((coding, length), (length, coding)):
            data = head("POST", CHAT_PATH, JSON, first, second) + CHUNKS[0] + HIDDEN
            assert "two-project" not in served.run(sent(served, data))


@pytest.mark.attack(11)
@pytest.mark.parametrize("length", [one for one in LENGTHS if one != "Content-Length: 0"])
def test_11_nothing_hides_in_a_body_whose_length_is_odd(served: Served, length: str) -> None:
    """Where a length is taken, it counts: what it covers is a body, and is no request."""
    runs = served.run(sent(served, head("POST", CHAT_PATH, JSON, length) + HIDDEN))
    assert "two-project" not in runs


@pytest.mark.attack(11)
@pytest.mark.parametrize("chunk", CHUNKS[1:])
def test_11_a_last_chunk_of_another_form_ends_no_body_before_its_time(served: Served, chunk: bytes) -> None:
    body = json.dumps(CHAT).encode()
    data = head("POST", CHAT_PATH, JSON, CODINGS[0]) + b"%x\r\n%s\r\n" % (len(body), body) + chunk + HIDDEN
    # Where the form is lawful, both are requests, one after the other, as for any two on one connection.
    assert served.run(sent(served, data)) in ([], ["one-project"], ["one-project", "two-project"])


@pytest.mark.attack(11)
@worlds(40)
@given(chance=CHANCES)
def test_damaged_requests_run_nothing_that_is_hidden_in_a_body(served: Served, chance: random.Random) -> None:
    """The hidden request lies within the body that an undamaged head announces."""
    hidden = json.dumps({**CHAT, "user": "x"}).encode()[:-1] + b', "metadata": {"k": "' + b"." * 10 + b'"}}'
    carrier = head("POST", CHAT_PATH, JSON, f"Content-Length: {len(hidden)}") + hidden
    runs = served.run(sent(served, damaged(chance, carrier)))
    assert runs in ([], ["one-project"])
    assert served.run(sent(served, post(CHAT, "Connection: close", key=KEY))) == ["one-project"]
