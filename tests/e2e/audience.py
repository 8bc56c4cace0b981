"""Readers of long streams, who note every moment at which text came."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Self

import httpx

from tests.e2e.running import MODEL, until


@dataclass
class Heard:
    """One stream."""

    seed: int
    tokens: int
    text: str = ""
    times: list[float] = field(default_factory=list)
    outcome: str = ""
    """`completed`, or what was said instead; empty while it runs."""
    counted: int = 0
    """Tokens of its usage."""

    @property
    def stood_still(self) -> float:
        """Longest time, in seconds, between two pieces of text."""
        return max(
            (after - before for before, after in zip(self.times, self.times[1:], strict=False)), default=0
        )


class Audience:
    """Streams of so many tokens each, in a thread of its own. Those of one seed say the same."""

    def __init__(self, url: str, key: str, streams: int, tokens: int, seeds: int = 3) -> None:
        self._url = url
        self._key = key
        self.heard = [Heard(number % seeds, tokens) for number in range(streams)]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(120.0)
        assert not self._thread.is_alive()

    def until_all_heard(self, pieces: int) -> None:
        """Return once so many pieces of text have come of each."""
        until(lambda: all(len(one.times) >= pieces or one.outcome for one in self.heard), "text of all", 60.0)

    def running(self) -> int:
        """Streams that have not ended."""
        return sum(not one.outcome for one in self.heard)

    async def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(headers=headers, timeout=60.0, limits=limits) as client:
            await asyncio.gather(*(self._listen(client, one) for one in self.heard))

    async def _listen(self, client: httpx.AsyncClient, heard: Heard) -> None:
        try:
            heard.outcome = await self._read(client, heard)
        except httpx.HTTPError as error:
            heard.outcome = f"cut: {error!r}"

    async def _read(self, client: httpx.AsyncClient, heard: Heard) -> str:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Go on."}],
            "max_tokens": heard.tokens,
            "seed": heard.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with client.stream("POST", f"{self._url}/chat/completions", json=body) as response:
            if not response.is_success:
                return f"{response.status_code}: {(await response.aread()).decode()}"
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    return "completed"
                if not line.startswith("data: "):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    return f"error: {chunk['error']}"
                for choice in chunk["choices"]:
                    if text := choice["delta"].get("content"):
                        heard.text += text
                        heard.times.append(time.monotonic())
                if chunk.get("usage"):
                    heard.counted = chunk["usage"]["completion_tokens"]
        return "cut"
