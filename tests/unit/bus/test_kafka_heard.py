"""A commit that was given up fails for nobody."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from shared.bus.kafka_heard import heard


async def test_who_waits_gets_the_answer_or_the_failure() -> None:
    async def double(value: int) -> int:
        if value < 0:
            raise ValueError("negative")
        return 2 * value

    call = heard(double)
    assert await asyncio.shield(call(21)) == 42
    with pytest.raises(ValueError, match="negative"):
        await asyncio.shield(call(-1))


async def test_a_failure_that_comes_after_everybody_left_is_told_to_nobody() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    gate = asyncio.Event()

    async def fail_later() -> None:
        await gate.wait()
        raise ValueError("too late")

    inner = heard(fail_later)()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.shield(inner)
    gate.set()
    while not inner.done():  # noqa: ASYNC110 - what is awaited must have no waiter
        await asyncio.sleep(0)
    del inner
    gc.collect()
    await asyncio.sleep(0)
    assert told == []
