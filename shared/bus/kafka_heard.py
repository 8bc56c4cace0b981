"""Answers of the library that somebody may no longer wait for.

Where a commit is given up, the library's own shield lets go of the task behind it, and its failure is told
by the garbage collector, as an error of nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from shared.lifecycle import Tasks


def heard(call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., asyncio.Future[Any]]:
    """The same call, begun at once as a task of its own; a failure that nobody waits for is no news."""
    tasks = Tasks("kafka")

    def begun(*arguments: Any) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                found = await call(*arguments)
            except Exception as error:  # noqa: BLE001 - for whoever waits
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # nobody has to wait for it
            else:
                if not answer.done():
                    answer.set_result(found)

        tasks.spawn(run(), "call")
        return answer

    return begun
