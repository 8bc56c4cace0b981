"""Money under load, on the synthetic engine: hard stops, abandoned streams, a killed process."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from decimal import Decimal

import httpx
from openai import APIStatusError, AsyncOpenAI

from services.cli.settings import EmbeddedSettings
from services.control.seed import PRICES
from shared.models.bound import prompt_bound
from shared.models.manifest import load_manifest
from shared.money import Prices
from shared.money import worst_case as reserved
from tests.e2e.conftest import Start
from tests.e2e.running import Running

MODEL = "smollm2-135m-instruct"
PROMPT = "Say something."


def body(tokens: int, *, stream: bool = False) -> dict[str, object]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, "stream": stream}


async def settled(running: Running, requests: int) -> list[dict[str, object]]:
    """Usage rows, once the project has settled this many requests."""
    headers = {"Authorization": f"Bearer {running.key}"}
    async with httpx.AsyncClient(base_url=running.base_url, headers=headers) as client:
        for _ in range(600):
            rows: list[dict[str, object]] = (await client.get("/usage")).json()["data"]
            if sum(int(str(row["requests"])) for row in rows) >= requests:
                return rows
            await asyncio.sleep(0.05)
    raise AssertionError(f"{requests} requests were not settled: {rows}\n{running.output}")


def test_money_for_ten_serves_ten_of_two_hundred_racing(start: Start) -> None:
    # A slow pace: no request ends, and frees its reserve, before the last was answered or refused.
    running = start(FREEHOLD_INFERENCE_TOKENS_PER_SECOND="50")
    made = running.command(
        "keys", "create", "--project", "demo-project", "--max-in-flight", "300"
    ).stdout.split()
    identifier, secret = made
    limit = Decimal(10 * worst_case(200)) / 10**9
    running.command("budgets", "set", "key", identifier, str(limit), "--period", "none")

    async def race() -> Counter[str]:
        client = AsyncOpenAI(base_url=running.base_url, api_key=secret, max_retries=0, timeout=60.0)

        async def one() -> str:
            try:
                await client.chat.completions.create(**body(200))
            except APIStatusError as error:
                return str(error.code)
            return "completed"

        return Counter(await asyncio.gather(*(one() for _ in range(200))))

    assert asyncio.run(race()) == {"completed": 10, "insufficient_quota": 190}
    asyncio.run(settled(running, 200))
    assert "FAILED" not in running.command("ledger", "verify").stdout


def worst_case(tokens: int) -> int:
    """What one such request reserves: 10^-9 of a unit."""
    manifest = load_manifest(EmbeddedSettings().manifest)
    bound = manifest.bound
    prompt = prompt_bound(
        manifest.context, bound.expand, bound.per_message, bound.fixed, len(PROMPT.encode()), 1
    )
    return reserved(prompt, tokens, 1, Prices(**PRICES))


def test_two_hundred_abandoned_streams_are_billed_what_exists(start: Start) -> None:
    running = start(FREEHOLD_INFERENCE_TOKENS_PER_SECOND="400")
    chance = random.Random(11)

    async def abandon(client: httpx.AsyncClient, pieces: int) -> None:
        async with client.stream("POST", "/chat/completions", json=body(400, stream=True)) as response:
            assert response.status_code == httpx.codes.OK
            lines = response.aiter_lines()
            for _ in range(pieces):
                await anext(lines)

    async def load() -> None:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.base_url, headers=headers, timeout=60.0) as client:
            for _ in range(10):
                await asyncio.gather(*(abandon(client, chance.randint(1, 60)) for _ in range(20)))

    asyncio.run(load())
    rows = asyncio.run(settled(running, 200))
    counted = re.search(r"freehold_inference_tokens_generated_total (\d+)", metrics(running))
    assert counted is not None
    assert sum(int(str(row["generated_tokens"])) for row in rows) == int(counted.group(1))
    assert "FAILED" not in running.command("ledger", "verify").stdout


def metrics(running: Running) -> str:
    return httpx.get(running.base_url.removesuffix("/v1") + "/metrics").text


def test_after_kill_9_the_ledger_verifies_and_open_reservations_end_as_owner_lost(start: Start) -> None:
    first = start(FREEHOLD_INFERENCE_TOKENS_PER_SECOND="20")

    async def begin() -> None:
        headers = {"Authorization": f"Bearer {first.key}"}
        async with httpx.AsyncClient(base_url=first.base_url, headers=headers, timeout=60.0) as client:
            request = client.build_request("POST", "/chat/completions", json=body(500, stream=True))
            streams = [await client.send(request, stream=True) for _ in range(4)]
            for stream in streams:
                await anext(stream.aiter_lines())
            first.kill()

    asyncio.run(begin())
    second = start(home=first.home)
    assert second.key == first.key
    asyncio.run(settled(second, 4))
    assert "FAILED" not in second.command("ledger", "verify").stdout
