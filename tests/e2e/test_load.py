"""Clients that take too long or are too many, against one running platform."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.bench.embedded import PATH, chat
from tests.bench.keys import make_keys
from tests.bench.load import closed_loop, post
from tests.bench.open_loop import OpenLoop, Seen
from tests.bench.processes import resident_mib
from tests.bench.slow_readers import Readers
from tests.e2e.running import MODEL, Running, until

SLOTS, PACE, TOKENS = 8, 16.0, 16
"""One second with a worker, eight requests a second."""
SLOW = 40
MOST_BYTES = 1_000_000
"""Of memory for a stream that nobody reads: its text, its events, and what the transport holds of them."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    platform = Running(tmp_path_factory.mktemp("load") / "home", "synthetic", FREEHOLD_EDGE_STALLED_S="4")
    yield platform
    platform.stop()


def port_of(platform: Running) -> int:
    return int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))


def ended(platform: Running) -> int:
    """Requests that ended, however."""
    text = httpx.get(platform.base_url.removesuffix("/v1") + "/metrics").text
    lines = (line for line in text.splitlines() if line.startswith("freehold_edge_requests_total"))
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def test_slow_readers_cost_others_nothing_and_are_cut(platform: Running) -> None:
    (key,) = make_keys(platform.socket, platform.token, platform.base_url, 1)
    plain = post(PATH, chat(4, stream=False), key)

    async def beside() -> tuple[int, int, float]:
        await closed_loop(port_of(platform), plain, 4, count=60)
        before = resident_mib(platform.process.pid)
        async with Readers(port_of(platform), key, SLOW, 1):
            figures = await closed_loop(port_of(platform), plain, 4, count=60)
            grown = resident_mib(platform.process.pid) - before
            # Whole before their readers were cut, or cancelled by it.
            await asyncio.to_thread(
                until, lambda: ended(platform) >= 120 + SLOW, "the slow streams to end", 60.0
            )
        return len(figures.latencies), figures.failures, grown

    answered, failures, grown = asyncio.run(beside())
    assert (answered, failures) == (60, 0)
    assert grown * 2**20 / SLOW < MOST_BYTES
    platform.verify_ledger()


def test_an_operator_weighs_organisations_and_makes_batch_keys(platform: Running) -> None:
    shown = platform.command("organisations", "list").stdout
    name = next(line.split()[0] for line in shown.splitlines() if " enabled" in line)
    assert " 100 " in shown
    assert "share 250" in platform.command("organisations", "share", name, "250").stdout
    assert " 250 " in platform.command("organisations", "list").stdout
    made = platform.command("keys", "create", "--project", "demo-project", "--priority", "batch").stdout
    secret = made.split()[-1]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    headers = {"Authorization": f"Bearer {secret}"}

    def answered() -> bool:
        url = f"{platform.base_url}/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=30.0).status_code == 200

    until(answered, "the batch key to be known", 30.0)


def test_overload_is_refused_at_once_and_what_is_let_in_is_answered_in_time(tmp_path: Path) -> None:
    platform = Running(
        tmp_path / "home",
        "synthetic",
        FREEHOLD_INFERENCE_SLOTS=str(SLOTS),
        FREEHOLD_INFERENCE_TOKENS_PER_SECOND=str(PACE),
    )
    try:
        one, *patient = make_keys(platform.socket, platform.token, platform.base_url, 9)
        loop = OpenLoop(port_of(platform), PATH, chat(TOKENS, stream=False), one, patient)

        async def flood() -> Seen:
            await loop.run(SLOTS, 0.0, 5.0, 0.0)
            seen = await loop.run(4 * SLOTS, 3.0, 8.0, 0.2)
            loop.close()
            return seen

        seen = asyncio.run(flood())
        assert set(seen.statuses) == {200, 429}
        assert seen.statuses[429] > seen.statuses[200]
        assert max(seen.told) <= 60
        assert seen.let_in >= 0.8 * seen.returned > 0
        platform.verify_ledger()
    finally:
        platform.stop()
