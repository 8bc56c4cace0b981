"""How a life of the library's is ended: its own ends wait without a deadline, and one of them swallows a
cancellation, so that whoever awaits it could not be cancelled either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from shared.bus.kafka import KafkaError
from shared.lifecycle import Tasks


async def ended(ending: Coroutine[Any, Any, None], seconds: float) -> bool:
    """Let it run as a task of its own for so long; whether it came to its end. What it raises is of no
    interest to anybody.
    """
    task = Tasks("kafka").spawn(_quietly(ending), "end")
    await asyncio.wait((task,), timeout=seconds)
    if task.done():
        return True
    task.cancel()
    return False


async def _quietly(ending: Coroutine[Any, Any, None]) -> None:
    with suppress(KafkaError, OSError, TimeoutError):
        await ending
