"""200 streams abandoned at random tokens: billed is what a recorder inside the engine port counted."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from services.cli.embedded.platform import Embedded
from services.cli.embedded.settings import EmbeddedSettings
from services.inference.engine import Engine
from services.inference.engines.counting import CountingEngine
from shared.contracts.freehold.billing.v1 import billing_pb2 as pb
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.host import system_host
from shared.rpc.channel import connect
from shared.telemetry import TelemetrySettings

STREAMS = 200
AT_ONCE = 20
MODEL = "smollm2-135m-instruct"


async def abandon(client: httpx.AsyncClient, lines: int) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 500}
    async with client.stream("POST", "/chat/completions", json={**body, "stream": True}) as response:
        assert response.status_code == httpx.codes.OK, await response.aread()
        async with aclosing(response.aiter_lines()) as found:
            for _ in range(lines):
                await anext(found)


async def booked(platform: Embedded) -> list[pb.LedgerEntry]:
    """The ledger's entries, once all streams are settled."""
    async with connect(platform.home.address, platform.home.token.read_text().strip()) as channel:
        billing = BillingStub(channel)
        async with asyncio.timeout(30):
            while True:
                found = await billing.ListEntries(pb.ListEntriesRequest(limit=STREAMS + 1))
                if len(found.entries) >= STREAMS:
                    return list(found.entries)


@pytest.mark.attack(24)
@pytest.mark.timeout(180)
async def test_200_abandoned_streams_are_billed_what_the_engine_drew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_INFERENCE_TOKENS_PER_SECOND", "200")
    recorders: list[CountingEngine] = []

    def around(engine: Engine) -> CountingEngine:
        recorders.append(CountingEngine(engine))
        return recorders[0]

    settings = EmbeddedSettings(home=tmp_path / "home", engine="synthetic", http_port=0, grpc_port=0)
    platform = Embedded(settings, TelemetrySettings(), system_host(), lambda step: None, around)
    await platform.start()
    try:
        chance = random.Random(7)
        key = platform.home.read_demo()["OPENAI_API_KEY"]
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=platform.base_url, headers=headers, timeout=60) as client:
            for _ in range(STREAMS // AT_ONCE):
                await asyncio.gather(*(abandon(client, chance.randint(1, 60)) for _ in range(AT_ONCE)))
        entries = await booked(platform)
    finally:
        await platform.stop()
    drawn = sorted(recorders[0].drawn.values())
    assert len(drawn) == STREAMS
    assert sorted(entry.billed for entry in entries) == drawn
    assert sorted(entry.generated for entry in entries) == drawn
