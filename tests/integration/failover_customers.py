"""Customers of the failover tests: what they ask, what they are told, and whether it is whole."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.rpc.channel import connect
from tests.e2e.running import MODEL
from tests.integration.failover_chains import text_of
from tests.integration.failover_world import World
from tests.integration.stepped_clock import until


class Customers:
    """Many requests at once, half of them streamed, half sampled, each with a seed."""

    def __init__(self, world: World, chance: random.Random, requests: int, least: int, most: int) -> None:
        """Each asks for `least` to `most` tokens."""
        self._world = world
        self._chance = chance
        self._tokens = (least, most)
        key = world.home.read_demo()["OPENAI_API_KEY"]
        headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx.AsyncClient(base_url=world.base_url, headers=headers, timeout=120.0)
        self.asked = [self._body(number) for number in range(requests)]
        self._asking: list[asyncio.Task[Told]] = []

    def _body(self, number: int) -> dict[str, Any]:
        kind = {"stream": True, "stream_options": {"include_usage": True}} if number % 2 else {}
        temperature = 0.0 if number % 4 < 2 else 0.8
        tokens = self._chance.randint(*self._tokens)
        return body(f"{number}: go on.", tokens, temperature=temperature, seed=number, **kind)

    async def begin(self) -> None:
        """Ask all, and return at a random moment at which all run, or have ended already."""
        workers = [worker for worker in self._world.workers if worker.alive]
        loop = asyncio.get_running_loop()
        self._asking = asking = [loop.create_task(ask(self.client, one)) for one in self.asked]
        await until(
            lambda: (
                sum(worker.running for worker in workers) + sum(map(asyncio.Task.done, asking)) >= len(asking)
            ),
            60.0,
        )
        await asyncio.sleep(self._chance.uniform(0.2, 1.2))

    async def told(self) -> list[Told]:
        """What each was told, once all have ended."""
        return await asyncio.gather(*self._asking)

    async def check(self) -> int:
        """Each ends whole, says what the chain of its ids says, and is billed once for just these.

        Returns how many were sent on to another worker. Raises `AssertionError`.
        """
        told, chains, world = await self.told(), self._world.chains, self._world
        assert [one.error for one in told] == [""] * len(told)
        assert all(one.whole for one in told)
        assert chains is not None
        await chains.read()
        ids = {one.request: chains.whole(one.request) for one in told}
        assert [one.text for one in told] == [text_of(ids[one.request], world.pieces) for one in told]
        assert [one.tokens for one in told] == [len(ids[one.request]) for one in told]
        entries = await world.entries(ids)
        assert [entries[one.request].billed for one in told] == [one.tokens for one in told]
        assert [entries[one.request].delivered for one in told] == [one.tokens for one in told]
        async with connect(world.home.address, world.home.token.read_text().strip()) as channel:
            books = await BillingStub(channel).VerifyLedger(billing_pb2.VerifyLedgerRequest())
        assert all(check.passed for check in books.checks), books
        dispatches = [len(chains.sent[one.request]) for one in told]
        assert max(dispatches) <= 2, "at most one re-send a request"
        return sum(count - 1 for count in dispatches)

    async def equal(self) -> int:
        """How many say what they say again when nothing happens."""
        told = await self.told()
        plain = [{name: one[name] for name in one if not name.startswith("stream")} for one in self.asked]
        again = await asyncio.gather(*(ask(self.client, one) for one in plain))
        return sum(one.text == other.text for one, other in zip(told, again, strict=True))


def body(prompt: str, tokens: int, **changes: Any) -> dict[str, Any]:
    """An OpenAI chat request."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0.0,
        **changes,
    }


@dataclass
class Told:
    """What a client was told of one request."""

    request: str
    text: str
    tokens: int
    """As the answer's usage counts them."""
    whole: bool
    """Whether it ended as it should: a stream by `[DONE]`."""
    error: str = ""


async def ask(client: httpx.AsyncClient, asked: Mapping[str, Any]) -> Told:
    """One request, plain or streamed, to its end."""
    if not asked.get("stream"):
        answer = await client.post("/chat/completions", json=asked)
        if not answer.is_success:
            return Told(answer.headers["x-request-id"], "", 0, False, answer.text)
        found = answer.json()
        text = found["choices"][0]["message"]["content"]
        return Told(answer.headers["x-request-id"], text, found["usage"]["completion_tokens"], True)
    told = Told("", "", 0, False)
    async with client.stream("POST", "/chat/completions", json=asked) as response:
        told.request = response.headers["x-request-id"]
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                told.whole = True
            elif line.startswith("data: "):
                _take(told, json.loads(line.removeprefix("data: ")))
            elif line.startswith("{"):
                told.error = line
    return told


def _take(told: Told, event: dict[str, Any]) -> None:
    if "error" in event:
        told.error = json.dumps(event["error"])
        return
    for choice in event["choices"]:
        told.text += choice["delta"].get("content") or ""
    if event.get("usage"):
        told.tokens = event["usage"]["completion_tokens"]
