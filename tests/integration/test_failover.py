"""A worker dies, hangs or drains in mid-stream: its requests go on elsewhere, no token lost or repeated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.embedded.platform import Embedded
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.rpc.channel import connect
from tests.integration.failover_world import Told, World, ask, body
from tests.integration.stepped_clock import until

pytestmark = pytest.mark.timeout(240)

REQUESTS = 24
PACE = 60.0
CHANCE = random.Random(20)


@asynccontextmanager
async def a_world(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    world = World(tmp_path / "home", **{"tokens_per_second": PACE, **settings})
    await world.start()
    key = world.home.read_demo()["OPENAI_API_KEY"]
    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with httpx.AsyncClient(base_url=world.base_url, headers=headers, timeout=120.0) as client:
            yield world, client
    finally:
        await world.stop()


async def verify(platform: Embedded) -> None:
    """Raises `AssertionError` where the books are wrong."""
    async with connect(platform.home.address, platform.home.token.read_text().strip()) as channel:
        checked = await BillingStub(channel).VerifyLedger(billing_pb2.VerifyLedgerRequest())
    assert all(one.passed for one in checked.checks), checked


def bodies() -> list[dict[str, Any]]:
    """Plain and streamed, greedy and sampled, each with a seed: what it must say is known."""
    found = []
    for number in range(REQUESTS):
        kind = {"stream": True, "stream_options": {"include_usage": True}} if number % 2 else {}
        temperature = 0.0 if number % 4 < 2 else 0.8
        tokens = CHANCE.randint(90, 240)
        found.append(body(f"{number}: go on.", tokens, temperature=temperature, seed=number, **kind))
    return found


async def check(
    world: World, client: httpx.AsyncClient, asked: list[dict[str, Any]], told: list[Told]
) -> None:
    """All ended whole, said what an undisturbed worker says, and each is billed once, what it said."""
    assert [one.error for one in told] == [""] * len(told)
    assert all(one.whole for one in told)
    plain = [{name: one[name] for name in one if not name.startswith("stream")} for one in asked]
    again = await asyncio.gather(*(ask(client, one) for one in plain))
    assert [one.text for one in told] == [one.text for one in again]
    wanted = [one["max_tokens"] for one in asked]
    assert [one.tokens for one in told] == wanted, "ids complete, none repeated"
    entries = await world.entries([one.request for one in told])
    assert [entries[one.request].billed for one in told] == wanted
    assert [entries[one.request].delivered for one in told] == wanted
    await verify(world)


async def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    async with a_world(tmp_path) as (world, client):
        asked = bodies()
        asking = [asyncio.ensure_future(ask(client, one)) for one in asked]
        first, second = world.workers
        await until(lambda: first.running + second.running == REQUESTS)
        assert first.running > REQUESTS // 3
        await asyncio.sleep(CHANCE.uniform(0.3, 1.2))
        first.wire.cut()
        await check(world, client, asked, await asyncio.gather(*asking))
