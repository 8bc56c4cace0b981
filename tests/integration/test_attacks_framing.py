"""The attack checklist's rows that the edge answers, over a real socket: heads, targets and framing.

Each case gets its own 4xx within two seconds of its last byte, in OpenAI's shape; nothing reaches the
owner; the connection is closed exactly where what follows on it could not be trusted.
"""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from tests.integration.edge_front import CHAT, MODEL, running_edge
from tests.integration.edge_wire import ask, head, post, refused, wire

BODY = json.dumps(CHAT).encode()
JSON = "Content-Type: application/json"
LENGTH = f"Content-Length: {len(BODY)}"
CHAT_PATH = "/v1/chat/completions"


@pytest.mark.attack(5)
@pytest.mark.parametrize(
    "host", ["x/health?", "", "a b", "evil@localhost", "a,b", "localhost:99999999", "[::1", "a\x7f"]
)
async def test_05_bad_hosts_are_refused(host: str) -> None:
    async with running_edge() as edge:
        data = post(CHAT).replace(b"Host: localhost", f"Host: {host}".encode("latin-1"))
        await refused(edge, data, 400, closed=True)


@pytest.mark.attack(5)
@pytest.mark.parametrize(
    "target",
    [
        "http://evil/v1/models",
        "http://localhost/v1/models",
        "//evil/v1/models",
        "*",
        "v1/models",
        "evil:443",
        "/v1/models#x",
        "/v1\\models",
        "/v1/mod\x80els",
        "/v1/models\x00",
    ],
)
async def test_05_targets_that_are_no_path_are_refused(target: str) -> None:
    async with running_edge() as edge:
        await refused(edge, head("GET", target), 400, closed=True)


@pytest.mark.attack(5)
async def test_05_connect_and_hosts_that_are_not_listed_are_refused() -> None:
    async with running_edge(hosts=frozenset({"api.example.org"})) as edge:
        await refused(edge, head("CONNECT", "evil:443"), 400, closed=True)
        await refused(edge, post(CHAT), 400, closed=True)
        reply, _ = await ask(edge, post(CHAT).replace(b"Host: localhost", b"Host: API.example.org:8080"))
        assert reply.status == 200


@pytest.mark.attack(11)
@pytest.mark.parametrize(
    "data",
    [
        head("POST", CHAT_PATH, JSON, LENGTH, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked", LENGTH) + b"0\r\n\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: identity") + BODY,
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding : chunked") + b"0\r\n\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n",
        head("POST", CHAT_PATH, JSON, "Content-Length: 5", "Content-Length: 6") + BODY,
        head("POST", CHAT_PATH, JSON, "Content-Length: +5") + BODY,
        head("POST", CHAT_PATH, JSON, "Content-Length: 0x10") + BODY,
        head("POST", CHAT_PATH, JSON, "Content-Length: 5, 5") + BODY,
        head("POST", CHAT_PATH, JSON, "Content-Length: -1") + BODY,
        post(CHAT).replace(b"\r\n", b"\n"),
        post(CHAT, "X-A: b\r\n folded"),
        post(CHAT, "X A: b"),
        post(CHAT, ": b"),
        post(CHAT, "X-A: \x00"),
        post(CHAT).replace(b"HTTP/1.1", b"HTTP/1.1 x"),
        post(CHAT).replace(b"HTTP/1.1", b"HTTP/2.0"),
        b"GET /v1/models\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked") + b"-1\r\nx\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked") + b"1\r\nxx\r\n",
        head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked")
        + b"%x\r\n%s\r\n0\r\nAuthorization: Bearer b\r\n\r\n" % (len(BODY), BODY),
    ],
)
async def test_11_smuggling_and_broken_framing_are_refused(data: bytes) -> None:
    async with running_edge() as edge:
        await refused(edge, data, 400, closed=True)


@pytest.mark.attack(11)
@pytest.mark.parametrize(
    "data",
    [
        post(CHAT, "X-Big: " + "x" * 1_000_000),
        post(CHAT, "X-Big: " + "x" * 33_000),
        post(CHAT, f"x{'y' * 33_000}: a"),
        post(CHAT, *[f"X-{number}: a" for number in range(10_000)]),
        post(CHAT, *[f"X-{number}: a" for number in range(101)]),
        post(CHAT, *["X-Same: a"] * 101),
        head("GET", "/v1/models?" + "x" * 33_000),
        head("GET", "/" + "x" * 1_000_000),
        head("GET", "/v1/models", "Authorization: Bearer " + "x" * 10_000_000, key=None),
    ],
    ids=[
        "value 1M",
        "value 33k",
        "name",
        "10k headers",
        "101 headers",
        "same 101",
        "query",
        "target 1M",
        "key 10M",
    ],
)
async def test_11_header_floods_are_refused(data: bytes) -> None:
    async with running_edge() as edge:
        await refused(edge, data, 431, closed=True)


@pytest.mark.attack(11)
async def test_11_a_header_without_end_is_refused_as_it_grows() -> None:
    async with running_edge() as edge, wire(edge) as line:
        await line.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Endless: ")
        for _ in range(20):
            await line.send(b"x" * 4096)
        assert (await line.reply()).status == 431
        assert await line.closed()


@pytest.mark.attack(12)
async def test_12_a_body_said_to_be_too_large_is_refused_before_it_comes() -> None:
    async with running_edge() as edge:
        for length in (str((1 << 20) + 1), "52428800", "9" * 18, "1" + "0" * 30):
            data = head("POST", CHAT_PATH, JSON, f"Content-Length: {length}")
            reply, closed = await ask(edge, data)
            assert closed
            # More digits than the parser's counter has are no length at all.
            assert reply.status == (413 if len(length) < 20 else 400)
        reply, _ = await ask(edge, head("POST", "/v1/models", "Content-Length: 52428800", key=None))
        assert reply.status == 413


@pytest.mark.attack(12)
async def test_12_fifty_megabytes_are_refused_while_the_client_still_sends() -> None:
    async with running_edge() as edge, wire(edge) as line:
        await line.send(head("POST", CHAT_PATH, JSON, "Content-Length: 52428800"))
        for _ in range(50):
            await line.send(b" " * (1 << 20))
        assert (await line.reply()).status == 413
        assert edge.owner.submissions == []


@pytest.mark.attack(12)
@pytest.mark.parametrize(("size", "count"), [(65_536, 100), (1, 400_000)])
async def test_12_chunks_without_end_are_refused(size: int, count: int) -> None:
    async with running_edge() as edge, wire(edge) as line:
        await line.send(head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked"))
        chunk = b"%x\r\n%s\r\n" % (size, b" " * size)
        for _ in range(10):
            await line.send(chunk * (count // 10))
        assert (await line.reply()).status == 413
        assert await line.closed()


@pytest.mark.attack(12)
async def test_12_chunk_extensions_without_end_are_refused() -> None:
    async with running_edge() as edge, wire(edge) as line:
        await line.send(head("POST", CHAT_PATH, JSON, "Transfer-Encoding: chunked") + b"1;x=")
        for _ in range(40):
            await line.send(b"x" * 65_536)
        assert (await line.reply()).status in (400, 413)
        assert await line.closed()


@pytest.mark.attack(12)
async def test_12_slow_heads_and_bodies_are_timed_out() -> None:
    async with running_edge(headers_s=0.3, body_s=0.3) as edge:
        for begin in (b"GET /v1/models HTTP/1.1\r\n", head("POST", CHAT_PATH, JSON, LENGTH)):
            async with wire(edge) as line:
                await line.send(begin)
                for octet in b"X-Slow: 12":
                    await line.send(bytes([octet]))
                    await asyncio.sleep(0.05)
                reply = await line.reply()
                assert reply.status == 408
                assert reply.headers.get("x-should-retry") is None
                assert await line.closed()
        assert edge.owner.submissions == []


@pytest.mark.attack(12)
async def test_12_a_body_that_stops_is_timed_out_even_after_a_refusal() -> None:
    """The 401 is out before the body; a sender that then stops cannot hold the connection."""
    async with running_edge(body_s=0.3) as edge, wire(edge) as line:
        await line.send(head("POST", CHAT_PATH, JSON, LENGTH, key=None) + BODY[:5])
        assert (await line.reply()).status == 401
        assert await line.closed()


@pytest.mark.attack(12)
async def test_12_an_idle_connection_is_closed_in_the_end() -> None:
    async with running_edge(idle_s=0.3) as edge:
        async with wire(edge) as line:
            assert await line.closed()
        async with wire(edge) as line:
            await line.send(post(CHAT))
            assert (await line.reply()).status == 200
            assert await line.closed()


@pytest.mark.attack(12)
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_12_compressed_bodies_are_refused(coding: str) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    async with running_edge() as edge:
        data = (
            head("POST", CHAT_PATH, JSON, f"Content-Encoding: {coding}", f"Content-Length: {len(bomb)}")
            + bomb
        )
        await refused(edge, data, 415, closed=True)


@pytest.mark.attack(12)
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
async def test_12_other_media_are_refused(kind: str | None) -> None:
    async with running_edge() as edge:
        lines = [LENGTH] if kind is None else [LENGTH, f"Content-Type: {kind}"]
        await refused(edge, head("POST", CHAT_PATH, *lines) + BODY, 415, closed=True)


async def test_one_connection_too_many_is_told_and_closed() -> None:
    async with running_edge(max_connections=2) as edge, wire(edge) as first, wire(edge) as second:
        for line in (first, second):
            await line.send(post(CHAT))
            assert (await line.reply()).status == 200
        reply, closed = await ask(edge, post(CHAT))
        assert (reply.status, reply.headers["retry-after"], closed) == (429, "1", True)
        await first.send(post(CHAT))
        assert (await first.reply()).status == 200


@pytest.mark.attack(11)
async def test_a_refused_connection_takes_no_second_request() -> None:
    """What stands behind a refused request is never answered: it could be smuggled."""
    async with running_edge() as edge, wire(edge) as line:
        await line.send(head("GET", "http://evil/") + post(CHAT))
        assert (await line.reply()).status == 400
        assert await line.closed()
        assert edge.owner.submissions == []


@pytest.mark.attack(11)
async def test_pipelined_requests_are_answered_in_order_and_bounded() -> None:
    async with running_edge(max_pipelined=3) as edge, wire(edge) as line:
        await line.send(post(CHAT) + head("GET", f"/v1/models/{MODEL}") + head("GET", "/nothing"))
        assert [(await line.reply()).status for _ in range(3)] == [200, 200, 404]
        await line.send(post(CHAT) * 20)
        assert (await line.reply()).status == 200
        assert await line.closed()


@pytest.mark.attack(11)
async def test_garbage_behind_a_running_answer_ends_the_connection_after_it() -> None:
    async with running_edge() as edge, wire(edge) as line:
        await line.send(post({**CHAT, "stream": True}) + b"\x00\x01garbage\r\n\r\n")
        reply = await line.reply()
        assert reply.status == 200
        assert reply.body.endswith(b"data: [DONE]\n\n")
        assert await line.closed()


async def test_an_offer_to_upgrade_is_ignored_and_its_request_answered() -> None:
    async with running_edge() as edge:
        h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        reply, closed = await ask(edge, post(CHAT, *h2c))
        assert (reply.status, closed) == (200, False)
        websocket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
        reply, _ = await ask(edge, head("GET", "/v1/models", *websocket))
        assert reply.status == 200
        data = post(CHAT, *h2c, "Authorization: Bearer other")
        assert (await ask(edge, data))[0].status == 400
