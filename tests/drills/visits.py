"""Clients that leave: at a token of a stream, at a moment before a plain answer, while work is on its way."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from itertools import chain, count

import httpx

from tests.drills.edges import Try
from tests.drills.load import SEEDS, Asked, Tenant
from tests.e2e.running import MODEL

PATH = "/v1/chat/completions"


class Visits:
    """Requests whose clients leave, to be accounted for as a load is."""

    def __init__(self, name: str, urls: Sequence[str], tenant: Tenant) -> None:
        self.name, self.tenant = name, tenant
        self._urls = list(urls)
        self._chance = random.Random(name)
        self._numbers = count()
        self.asked: list[Asked] = []

    @property
    def tries(self) -> list[Try]:
        """One each."""
        return [one for asked in self.asked for one in asked.tries]

    def stream(self, tokens: int, leave_after: int) -> Asked:
        """A stream that its client leaves once it has read so many tokens; 0 = at its first sign."""
        asked, headers, body = self._begin(tokens, streamed=True)
        (made,) = asked.tries
        with (
            httpx.Client(trust_env=False, timeout=60.0) as client,
            client.stream("POST", made.edge + PATH, content=body, headers=headers) as response,
        ):
            made.status, made.request = response.status_code, response.headers.get("x-request-id", "")
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line.removeprefix("data: ")).get("choices", ()):
                        asked.text += choice["delta"].get("content") or ""
                if asked.text.count(" ") >= leave_after:
                    break
        return self._left(asked)

    def plain(self, tokens: int, leave_after_s: float) -> Asked:
        """A plain request that its client leaves after so long."""
        asked, headers, body = self._begin(tokens, streamed=False)
        try:
            answer = httpx.post(
                asked.tries[0].edge + PATH,
                content=body,
                headers=headers,
                timeout=httpx.Timeout(60.0, read=leave_after_s),
                trust_env=False,
            )
        except httpx.ReadTimeout:
            return self._left(asked)
        asked.tries[0].status = answer.status_code
        asked.tries[0].request = answer.headers["x-request-id"]
        return self._left(asked)

    async def race(self, races: int, clients: int, longest_s: float) -> list[float]:
        """So many requests, each left at a random moment up to `longest_s` after it was sent, or at the first
        sign of its answer where that is 0; the seconds that each took.
        """
        numbers = iter(range(races))

        async def client() -> list[float]:
            return [await self._dash(longest_s) for _ in numbers]

        return list(chain(*await asyncio.gather(*(client() for _ in range(clients)))))

    async def _dash(self, longest_s: float) -> float:
        asked, headers, body = self._begin(2000, streamed=not longest_s or self._chance.random() < 0.5)
        url = httpx.URL(asked.tries[0].edge)
        head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        wire = f"POST {PATH} HTTP/1.1\r\nhost: edges\r\ncontent-length: {len(body)}\r\n{head}\r\n"
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(wire.encode() + body)
        await writer.drain()
        if longest_s:
            await asyncio.sleep(self._chance.uniform(0.0, longest_s))
        else:
            await reader.read(1)
        writer.transport.abort() if self._chance.random() < 0.5 else writer.close()
        return self._left(asked).seconds

    def _begin(self, tokens: int, *, streamed: bool) -> tuple[Asked, dict[str, str], bytes]:
        number, seed = next(self._numbers), self._chance.choice(SEEDS)
        key = f"{self.name}-{number}"
        made = Try(f"{key}.0", self._urls[number % len(self._urls)], time.monotonic())
        asked = Asked(key, "left", seed, tokens, made.began, tries=[made])
        self.asked.append(asked)
        headers = {
            "authorization": f"Bearer {self.tenant.secret}",
            "content-type": "application/json",
            "idempotency-key": made.key,
        }
        messages = [{"role": "user", "content": f"Say something. {key}"}]
        body = {"model": MODEL, "messages": messages, "max_tokens": tokens, "seed": seed, "stream": streamed}
        return asked, headers, json.dumps(body).encode()

    @staticmethod
    def _left(asked: Asked) -> Asked:
        asked.outcome, asked.ended = "cancelled", time.monotonic()
        asked.tries[0].ended = asked.ended
        return asked
