"""A closed-loop HTTP/1.1 client that costs little, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

TEXT = re.compile(rb'"content":"[^"]')


@dataclass
class Figures:
    """What one closed loop saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds from a request's first byte to its answer's last."""
    failures: int = 0
    events: int = 0
    """Server-sent events, of streams."""
    tokens: int = 0
    """Completion tokens that the answers' own usage states."""

    def add(self, other: Figures) -> None:
        """Another turn of the same loop."""
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.failures += other.failures
        self.events += other.events
        self.tokens += other.tokens

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def summary(self) -> dict[str, float]:
        """Rounded for a report."""
        return {
            "requests": len(self.latencies),
            "failures": self.failures,
            "requests_per_s": round(len(self.latencies) / self.seconds, 1),
            "p50_ms": round(self.percentile(0.5), 3),
            "p99_ms": round(self.percentile(0.99), 3),
            "tokens_per_s": round(self.tokens / self.seconds, 1),
            "events_per_s": round(self.events / self.seconds, 1),
        }


def post(path: str, body: bytes, key: str = "", host: str = "127.0.0.1") -> bytes:
    """A whole POST request."""
    credential = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{credential}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one response, with a length or in chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return status, await _chunks(reader)
    mark = lower.index(b"content-length:") + 15
    return status, await reader.readexactly(int(lower[mark : lower.index(b"\r\n", mark)]))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


async def closed_loop(
    port: int, request: bytes, connections: int, *, count: int = 0, seconds: float = 0.0
) -> Figures:
    """Each connection sends again once it has its answer, until `count` in all, or for `seconds`."""
    figures = Figures()
    begin = time.perf_counter()
    left = count

    def more() -> bool:
        nonlocal left
        left -= 1
        return left >= 0 if count else time.perf_counter() - begin < seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        try:
            while more():
                start = time.perf_counter()
                writer.write(request)
                status, body = await answer(reader)
                figures.latencies.append(time.perf_counter() - start)
                figures.failures += status != 200
                figures.events += body.count(b"data: ")
                figures.tokens += _completion_tokens(body)
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    figures.seconds = time.perf_counter() - begin
    return figures


async def first_tokens(port: int, request: bytes, seconds: float) -> Figures:
    """One streamed request after another; the latencies are those of each answer's first text."""
    figures = Figures()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    begin = time.perf_counter()
    try:
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            figures.failures += int(head[9:12]) != 200
            seen = False
            while size := int(await reader.readline(), 16):
                chunk = await reader.readexactly(size + 2)
                if not seen and _has_text(chunk):
                    figures.latencies.append(time.perf_counter() - start)
                    seen = True
                figures.tokens += _completion_tokens(chunk)
            await reader.readexactly(2)
    finally:
        writer.close()
    figures.seconds = time.perf_counter() - begin
    return figures


def _has_text(chunk: bytes) -> bool:
    return TEXT.search(chunk) is not None


def _completion_tokens(body: bytes) -> int:
    mark = body.rfind(b'"completion_tokens":')
    if mark < 0:
        return 0
    digits = body[mark + 20 : mark + 32].lstrip()
    end = next(i for i, byte in enumerate(digits) if not 48 <= byte <= 57)
    return int(digits[:end])
