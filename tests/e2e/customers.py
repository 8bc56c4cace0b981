"""Customers of several edges who go on asking, whatever happens, and keep count of what became of it."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import Self

import httpx

from tests.e2e.running import MODEL, until

CLIENTS = 3
MOST_TOKENS = 60
PAUSE_S = 0.05


class Customers:
    """Plain, streamed and abandoned requests, in a thread of its own. Each ends as one of `counts`'s."""

    def __init__(self, urls: Sequence[str], key: str, seed: int = 1) -> None:
        self._urls = urls
        self._key = key
        self._chance = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._served: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        """completed, error (told in an answer or a stream), cancelled (by the customer), cut (the connection
        ended without a word), unreached (nobody listened).
        """
        self.sent = 0
        self.slowest = 0.0
        """Of those that were completed."""
        self.completed: dict[str, int] = {}
        """Tokens of each whole plain answer, by request."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(90.0)
        assert not self._thread.is_alive()

    def served_again(self, seconds: float = 90.0, urls: Sequence[str] | None = None) -> float:
        """Seconds until each edge, or each of these, has completed a request that began after this call."""
        wanted = urls or self._urls
        begun = time.monotonic()
        return until(
            lambda: all(self._served.get(url, 0.0) > begun for url in wanted),
            f"requests to be completed, beside {dict(self.counts)}",
            seconds,
        )

    def settled_down(self, quiet: int = 12, seconds: float = 90.0) -> None:
        """Return once so many requests in a row have ended without an error."""
        before = self._failures()
        base = self.sent

        def calm() -> bool:
            nonlocal before, base
            if self._failures() != before:
                before, base = self._failures(), self.sent
            return self.sent - base >= quiet

        until(calm, f"{quiet} requests without an error, beside {dict(self.counts)}", seconds)

    def _failures(self) -> int:
        return self.counts["error"] + self.counts["cut"] + self.counts["unreached"]

    async def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(headers=headers, timeout=60.0) as client:
            await asyncio.gather(*(self._go_on(client, number) for number in range(CLIENTS)))

    async def _go_on(self, client: httpx.AsyncClient, number: int) -> None:
        turn = number
        while not self._end.is_set():
            turn += 1
            url = self._urls[turn % len(self._urls)]
            self.sent += 1
            began = time.monotonic()
            try:
                outcome = await self._one(client, url)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                outcome = "unreached"
            except httpx.HTTPError:
                outcome = "cut"
            self.counts[outcome] += 1
            if outcome == "completed":
                self._served[url] = max(began, self._served.get(url, 0.0))
                self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(PAUSE_S)

    async def _one(self, client: httpx.AsyncClient, url: str) -> str:
        streamed = self._chance.random() < 0.5
        # Each another: what begins alike goes to one worker.
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"{self.sent} times: say something."}],
            "max_tokens": self._chance.randint(1, MOST_TOKENS),
            "stream": streamed,
        }
        if not streamed:
            answer = await client.post(f"{url}/chat/completions", json=body)
            if not answer.is_success:
                return "error"
            self.completed[answer.headers["x-request-id"]] = answer.json()["usage"]["completion_tokens"]
            return "completed"
        leave_after = self._chance.randint(1, 4 * MOST_TOKENS)
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            if not response.is_success:
                return "error"
            async with aclosing(response.aiter_lines()) as lines:
                async for line in lines:
                    leave_after -= 1
                    if line == "data: [DONE]":
                        return "completed"
                    if line.startswith("data: ") and "error" in json.loads(line.removeprefix("data: ")):
                        return "error"
                    if leave_after <= 0:
                        return "cancelled"
        return "cut"
