"""Money under load, on the synthetic engine: hard stops, abandoned streams, revoked keys."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal

import httpx
import openai
import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from services.cli.embedded.settings import EmbeddedSettings
from services.control.seed import PRICES
from shared.models.bound import prompt_bound
from shared.models.manifest import load_manifest
from shared.money import Prices
from shared.money import worst_case as reserved
from tests.e2e.running import MODEL, Running, until

PROMPT = "Say something."


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A platform whose answers take their time: 50 tokens a second."""
    running = Running(
        tmp_path_factory.mktemp("slow") / "home", "synthetic", FREEHOLD_INFERENCE_TOKENS_PER_SECOND="50"
    )
    yield running
    assert running.stop() == 0, running.output


def body(tokens: int, *, stream: bool = False) -> dict[str, object]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, "stream": stream}


def totals(running: Running) -> Counter[str]:
    """Sums over what the demo's project has settled."""
    headers = {"Authorization": f"Bearer {running.key}"}
    rows = httpx.get(f"{running.base_url}/usage", headers=headers).json()["data"]
    found: Counter[str] = Counter()
    for row in rows:
        found.update({name: int(value) for name, value in row.items() if isinstance(value, int)})
    return found


def settled(running: Running, requests: int) -> Counter[str]:
    """The sums, once so many requests are settled."""
    until(lambda: totals(running)["requests"] >= requests, f"{requests} settlements")
    return totals(running)


def worst_case(tokens: int) -> int:
    """What one such request reserves: 10^-9 of a unit."""
    manifest = load_manifest(EmbeddedSettings().manifest)
    bound = manifest.bound
    prompt = prompt_bound(
        manifest.context, bound.expand, bound.per_message, bound.fixed, len(PROMPT.encode()), 1
    )
    return reserved(prompt, tokens, 1, Prices(**PRICES))


@pytest.mark.attack(23)
def test_money_for_ten_serves_ten_of_two_hundred_racing(slow: Running) -> None:
    # 200 tokens take 4 s: none ends, and frees its reserve, before the last was answered or refused.
    before = totals(slow)["requests"]
    identifier, secret = slow.command(
        "keys", "create", "--project", "demo-project", "--max-in-flight", "300"
    ).stdout.split()
    limit = Decimal(10 * worst_case(200)) / 10**9
    slow.command("budgets", "set", "key", identifier, str(limit), "--period", "none")

    async def race() -> Counter[str]:
        async with AsyncOpenAI(base_url=slow.base_url, api_key=secret, max_retries=0, timeout=60.0) as client:

            async def one() -> str:
                try:
                    await client.chat.completions.create(**body(200))
                except APIStatusError as error:
                    return str(error.code)
                return "completed"

            return Counter(await asyncio.gather(*(one() for _ in range(200))))

    assert asyncio.run(race()) == {"completed": 10, "insufficient_quota": 190}
    settled(slow, before + 200)
    slow.verify_ledger()


@pytest.mark.attack(24)
def test_two_hundred_abandoned_streams_are_billed_what_exists(slow: Running) -> None:
    before, generated = totals(slow), engine_count(slow)
    chance = random.Random(11)

    async def abandon(client: httpx.AsyncClient, lines: int) -> None:
        async with client.stream("POST", "/chat/completions", json=body(400, stream=True)) as response:
            assert response.status_code == httpx.codes.OK, await response.aread()
            async with aclosing(response.aiter_lines()) as found:
                for _ in range(lines):
                    await anext(found)

    async def load() -> None:
        headers = {"Authorization": f"Bearer {slow.key}"}
        async with httpx.AsyncClient(base_url=slow.base_url, headers=headers, timeout=60.0) as client:
            for _ in range(10):
                await asyncio.gather(*(abandon(client, chance.randint(1, 60)) for _ in range(20)))

    asyncio.run(load())
    spent = settled(slow, before["requests"] + 200)
    spent.subtract(before)
    assert spent["generated_tokens"] == spent["billed_tokens"] == engine_count(slow) - generated
    assert 0 < spent["delivered_tokens"] <= spent["generated_tokens"]
    slow.verify_ledger()


def engine_count(running: Running) -> int:
    """Ids that the engine made, as the worker counts them beside the usage path."""
    text = httpx.get(running.base_url.removesuffix("/v1") + "/metrics").text
    counted = re.search(r'freehold_inference_tokens_total{kind="generated"} (\d+)', text)
    assert counted is not None
    return int(counted.group(1))


@pytest.mark.attack(4)
def test_a_new_key_works_and_a_revoked_one_is_cut_off_in_mid_stream(slow: Running) -> None:
    identifier, secret = slow.command("keys", "create", "--project", "demo-project").stdout.split()
    with OpenAI(base_url=slow.base_url, api_key=secret, max_retries=0, timeout=60.0) as client:
        until(lambda: is_known(client), "the new key to be known")
        stream = client.chat.completions.create(**body(2000, stream=True))
        ended: list[tuple[float, Exception | None]] = []

        def read() -> None:
            try:
                for _ in stream:
                    pass
            except openai.APIError as error:
                ended.append((time.monotonic(), error))
            else:
                ended.append((time.monotonic(), None))

        next(iter(stream))
        reader = threading.Thread(target=read)
        reader.start()
        slow.command("keys", "revoke", identifier)
        revoked = time.monotonic()
        reader.join(60)
        when, error = ended[0]
        assert isinstance(error, openai.APIError), "the answer went on to its end"
        assert error.code == "cancelled"
        assert when - revoked < 2.0
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    assert "revoked" in next(
        line for line in slow.command("keys", "list").stdout.splitlines() if identifier in line
    )


def is_known(client: OpenAI) -> bool:
    try:
        client.models.list()
    except openai.AuthenticationError:
        return False
    return True
