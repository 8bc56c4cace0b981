"""Clients that come when they come: Poisson arrivals, whatever becomes of those before them."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from tests.bench.load import post

RETRY_MS = re.compile(rb"retry-after-ms: (\d+)", re.IGNORECASE)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')
LATE_S = 0.05
"""A patient client comes back so much later than it was told, at most."""


@dataclass
class Seen:
    """Of the requests that arrived within the measured time."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Of those that were answered: seconds."""
    refusals: list[float] = field(default_factory=list)
    """Seconds until a refusal was told."""
    told: list[float] = field(default_factory=list)
    """Seconds after which refused clients were told to come back."""
    tokens: int = 0
    """Of answers that ended within the measured time."""
    statuses: Counter[int] = field(default_factory=Counter)
    returned: int = 0
    """Patient clients that came back when told, and how many of them were let in then."""
    let_in: int = 0

    def summary(self) -> dict[str, Any]:
        """Rounded for a report."""
        arrived = sum(self.statuses.values())
        return {
            "arrived_per_s": round(arrived / self.seconds, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "goodput_tokens_per_s": round(self.tokens / self.seconds, 1),
            "answered_p50_s": share(self.latencies, 0.5),
            "answered_p99_s": share(self.latencies, 0.99),
            "refused_p99_ms": round(1000 * share(self.refusals, 0.99), 1),
            "told_s": [share(self.told, 0.0), share(self.told, 0.5), share(self.told, 1.0)],
            "let_in_when_told": f"{self.let_in} of {self.returned}",
        }


def share(values: list[float], part: float) -> float:
    """The percentile; 0 of nothing."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 3) if ordered else 0.0


class OpenLoop:
    """Arrivals at one edge. `patient` keys belong to one client each, which comes back once, as told."""

    def __init__(self, port: int, path: str, body: bytes, key: str, patient: list[str]) -> None:
        self._port = port
        self._request = post(path, body, key)
        self._patient = deque((post(path, body, one)) for one in patient)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._chance = random.Random(5)

    async def run(self, per_s: float, before: float, seconds: float, patient: float) -> Seen:
        """Arrivals for `before` seconds that do not count, and for `seconds` that do; a share of them is
        `patient`. Returns once all are answered.
        """
        seen = Seen(seconds)
        begun = time.perf_counter()
        self._from, self._until = begun + before, begun + before + seconds
        tasks = []
        when = begun
        while (when := when + self._chance.expovariate(per_s)) < self._until:
            await asyncio.sleep(max(0.0, when - time.perf_counter()))
            wait = self._chance.random() < patient and bool(self._patient)
            tasks.append(asyncio.create_task(self._patiently(seen) if wait else self._once(seen)))
        await asyncio.gather(*tasks)
        return seen

    async def _once(self, seen: Seen) -> None:
        await self._ask(self._request, seen)

    async def _patiently(self, seen: Seen) -> None:
        request = self._patient.popleft()
        counted = time.perf_counter() >= self._from
        told = await self._ask(request, seen)
        if told is not None:
            await asyncio.sleep(told + self._chance.uniform(0.0, LATE_S))
            again = await self._ask(request, None)
            seen.returned += counted
            seen.let_in += counted and again is None
        self._patient.append(request)

    async def _ask(self, request: bytes, seen: Seen | None) -> float | None:
        """Seconds after which to come back; None where it was answered, or refused for another reason."""
        if not self._idle:
            self._idle.append(await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20))
        reader, writer = self._idle.pop()
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        body = await reader.readexactly(int(found[1])) if found else b""
        self._idle.append((reader, writer))
        ended = time.perf_counter()
        status, retry = int(head[9:12]), RETRY_MS.search(head)
        told = int(retry[1]) / 1000 if retry else None
        if seen is not None:
            self._count(seen, status, begun, ended, body, told)
        return told

    def _count(
        self, seen: Seen, status: int, begun: float, ended: float, body: bytes, told: float | None
    ) -> None:
        found = TOKENS.search(body)
        if found and self._from <= ended < self._until:
            seen.tokens += int(found[1])
        if begun < self._from:
            return
        seen.statuses[status] += 1
        (seen.latencies if status == 200 else seen.refusals).append(ended - begun)
        if told is not None:
            seen.told.append(told)

    def close(self) -> None:
        """Close the connections."""
        for _, writer in self._idle:
            writer.close()
