"""Clients that go on asking, whatever happens to the platform."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import aclosing
from typing import Self

import httpx

from tests.e2e.running import MODEL

CLIENTS = 8
MOST_TOKENS = 200


class Load:
    """Plain, streamed and abandoned requests from `CLIENTS` clients, in a thread of its own."""

    def __init__(self, base_url: str, key: str, seed: int) -> None:
        self._base_url = base_url
        self._key = key
        self._chance = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.answered: dict[str, int] = {}
        """Tokens that each whole answer said it had, by request."""
        self.begun: set[str] = set()
        """Requests of which a client saw at least the status line."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30.0)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(base_url=self._base_url, headers=headers, timeout=10.0) as client:
            await asyncio.gather(*(self._go_on(client) for _ in range(CLIENTS)))

    async def _go_on(self, client: httpx.AsyncClient) -> None:
        while not self._end.is_set():
            try:
                await self._one(client)
            except httpx.HTTPError:
                await asyncio.sleep(0.02)

    async def _one(self, client: httpx.AsyncClient) -> None:
        streamed = self._chance.random() < 0.6
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Say something."}],
            "max_tokens": self._chance.randint(1, MOST_TOKENS),
            "stream": streamed,
        }
        if not streamed:
            answer = await client.post("/chat/completions", json=body)
            if answer.is_success:
                self.begun.add(answer.headers["x-request-id"])
                self.answered[answer.headers["x-request-id"]] = answer.json()["usage"]["completion_tokens"]
            return
        leave_after = self._chance.randint(1, 2 * MOST_TOKENS)
        async with client.stream("POST", "/chat/completions", json=body) as response:
            if response.is_success:
                self.begun.add(response.headers["x-request-id"])
            async with aclosing(response.aiter_lines()) as lines:
                async for _ in lines:
                    leave_after -= 1
                    if leave_after == 0:
                        return
