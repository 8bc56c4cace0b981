"""Clients that ask through the `openai` package, with its own retries, whatever happens to the platform."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI

from tests.drills.edges import KEY, Edges, Try
from tests.e2e.running import MODEL, until

SEEDS = range(1000, 1016)
LONGEST = 400
"""Tokens of the longest answer whose text is checked."""
PATIENCE_S = 150.0
"""Of one try: more than a request's deadline, so that only a hang is ended by it."""


class Tenant(NamedTuple):
    """Who asks."""

    organisation: str
    project: str
    secret: str


class Mix(NamedTuple):
    """What is asked for."""

    tokens: tuple[int, int] = (20, 60)
    streamed: float = 0.5
    """Share of the requests that are streamed."""
    leaving: float = 0.04
    """Share that its client leaves half-way, all streamed."""
    prompt: str = "Say something."


@dataclass(slots=True)
class Asked:
    """One request as its client thinks of it, over all its tries."""

    key: str
    kind: str
    seed: int
    tokens: int
    began: float
    outcome: str = "hanging"
    """completed; error (told); cancelled (left by its client); cut (broken off without a word); hanging."""
    told: str = ""
    """The error's code."""
    ended: float = 0.0
    text: str = ""
    heard: list[float] = field(default_factory=list)
    """When its text came, part by part."""
    counted: int = 0
    """Tokens, as the answer's usage says."""
    tries: list[Try] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Load:
    """`clients` clients with so many requests `each`, one after the other, in a thread of their own."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        tenant: Tenant,
        *,
        clients: int = 8,
        each: int = 100,
        mix: Mix = Mix(),  # noqa: B008 - a tuple
        pause_s: float = 0.0,
    ) -> None:
        self.name, self.tenant = name, tenant
        self._clients, self._each, self._mix, self._pause_s = clients, each, mix, pause_s
        self._chance = random.Random(name)
        self._edges = Edges(urls)
        self._end = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._go, daemon=True)
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(PATIENCE_S)

    def join(self, seconds: float) -> None:
        """Return once all have ended. Raises `AssertionError` where they do not."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{self.counts} after {seconds} s"
        if self._failed is not None:
            raise self._failed

    @property
    def tries(self) -> list[Try]:
        """Of all requests; those of running ones come when they are answered."""
        return self._edges.tries

    @property
    def counts(self) -> Counter[str]:
        """Requests by outcome."""
        return Counter(one.outcome for one in list(self.asked))

    @property
    def done(self) -> int:
        """Requests that have ended."""
        return sum(one.ended > 0 for one in list(self.asked))

    def reached(self, requests: int, seconds: float = 120.0) -> None:
        """Return once so many have ended."""
        until(lambda: self.done >= requests or not self._thread.is_alive(), f"{requests} ended", seconds)

    def streaming(self, streams: int, seconds: float = 60.0) -> None:
        """Return once so many have got their first text."""
        until(
            lambda: sum(bool(one.heard) for one in list(self.asked)) >= streams, f"{streams} streams", seconds
        )

    def end_after(self, seconds: float) -> None:
        """Ask for nothing new from then on."""
        threading.Timer(seconds, self._end.set).start()

    def served_after(self, moment: float, edges: Sequence[str] = (), seconds: float = 90.0) -> float:
        """Seconds from that moment to the first whole answer to a request that began after it."""

        def first() -> float:
            found = [
                one.ended
                for one in list(self.asked)
                if one.outcome == "completed"
                and one.began > moment
                and (not edges or one.tries[-1].edge in edges)
            ]
            return min(found, default=0.0)

        until(lambda: first() > 0 or not self._thread.is_alive(), "a request to be completed", seconds)
        return first() - moment if first() else float("inf")

    def _go(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - told by `join`
            self._failed = error

    async def _run(self) -> None:
        http = httpx2.AsyncClient(transport=self._edges, timeout=PATIENCE_S)
        async with AsyncOpenAI(
            base_url="http://edges/v1", api_key=self.tenant.secret, http_client=http, timeout=PATIENCE_S
        ) as client:
            tasks = [asyncio.create_task(self._client(client, number)) for number in range(self._clients)]
            await asyncio.gather(*tasks)

    async def _client(self, client: AsyncOpenAI, number: int) -> None:
        for turn in range(self._each):
            if self._end.is_set():
                return
            await self._one(client, f"{self.name}-{number}-{turn}")
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    async def _one(self, client: AsyncOpenAI, key: str) -> None:
        chance, mix = self._chance, self._mix
        drawn = chance.random()
        kind = "left" if drawn < mix.leaving else "streamed" if drawn < mix.streamed else "plain"
        seed, tokens = chance.choice(SEEDS), chance.randint(*mix.tokens)
        asked = Asked(key, kind, seed, tokens, time.monotonic())
        self.asked.append(asked)
        try:
            ask = self._plain if kind == "plain" else self._stream
            asked.outcome = await ask(client, asked)
        except APIStatusError as error:
            asked.outcome, asked.told = "error", str(error.code)
        except (APIConnectionError, httpx2.TransportError) as error:
            asked.outcome, asked.told = "cut", type(error.__cause__ or error).__name__
        except APIError as error:
            asked.outcome, asked.told = "error", str(error.code)
        asked.ended = time.monotonic()
        asked.tries = self._edges.of(key)

    def _body(self, asked: Asked) -> dict[str, Any]:
        text = f"{self._mix.prompt} {asked.key}"
        return {
            "model": MODEL,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": asked.tokens,
            "seed": asked.seed,
            "extra_headers": {KEY: asked.key},
        }

    async def _plain(self, client: AsyncOpenAI, asked: Asked) -> str:
        answer = await client.chat.completions.create(**self._body(asked))
        asked.text, asked.counted = answer.choices[0].message.content, answer.usage.completion_tokens
        return "completed"

    async def _stream(self, client: AsyncOpenAI, asked: Asked) -> str:
        body = self._body(asked) | {"stream": True, "stream_options": {"include_usage": True}}
        leave_at = asked.tokens // 2 if asked.kind == "left" else asked.tokens + 1
        ended = "cut"
        stream = await client.chat.completions.create(**body)
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content:
                        asked.text += choice.delta.content
                        asked.heard.append(time.monotonic())
                if chunk.usage is not None:
                    asked.counted, ended = chunk.usage.completion_tokens, "completed"
                if asked.text.count(" ") >= leave_at:
                    return "cancelled"
        return ended


def texts_of(urls: Sequence[str], secret: str, seeds: Sequence[int] = SEEDS) -> Mapping[int, list[str]]:
    """What each seed says where nothing goes wrong, token for token: the synthetic engine's words each
    begin with their one space.
    """

    async def ask(client: AsyncOpenAI, seed: int) -> list[str]:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=LONGEST,
            seed=seed,
            extra_headers={KEY: f"reference-{seed}-{time.time_ns()}"},
        )
        words = (answer.choices[0].message.content or "").split(" ")[1:]
        assert len(words) == LONGEST
        return words

    async def all_of() -> list[list[str]]:
        http = httpx2.AsyncClient(transport=Edges(urls), timeout=PATIENCE_S)
        async with AsyncOpenAI(base_url="http://edges/v1", api_key=secret, http_client=http) as client:
            return await asyncio.gather(*(ask(client, seed) for seed in seeds))

    return dict(zip(seeds, asyncio.run(all_of()), strict=True))


def spoiled(asked: Sequence[Asked], texts: Mapping[int, list[str]]) -> list[str]:
    """Requests in whose text a token is lost, repeated or another: of whole answers all of it, of others
    what came.
    """

    def wrong(one: Asked) -> bool:
        words = one.text.split(" ")[1:] if one.text else []
        same = words[:LONGEST] == texts[one.seed][: len(words)]
        return not same or (one.outcome == "completed" and len(words) != one.tokens)

    return [one.key for one in asked if wrong(one)]


def slowest(asked: Sequence[Asked], met: Callable[[Asked], bool]) -> float:
    """Seconds of the slowest whole answer among those that met something."""
    return max((one.seconds for one in asked if one.outcome == "completed" and met(one)), default=0.0)
