"""One thread, calls in order, outcomes on the loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.executor import ThreadExecutor


async def test_calls_run_in_order_on_one_thread_of_its_name() -> None:
    executor = ThreadExecutor("disk")
    seen: list[int] = []

    def note(number: int) -> str:
        seen.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(*(executor.submit(note, number) for number in range(50)))
    executor.close()
    assert (seen, set(names)) == (list(range(50)), {"disk"})


async def test_what_a_call_raises_is_raised_to_whoever_waits() -> None:
    executor = ThreadExecutor("disk")
    with pytest.raises(ZeroDivisionError):
        await executor.run(divmod, 1, 0)
    assert await executor.run(divmod, 7, 2) == (3, 1)
    executor.close()


async def test_a_cancelled_wait_stops_no_call() -> None:
    executor = ThreadExecutor("disk")
    go, done = threading.Event(), threading.Event()

    def slow() -> None:
        go.wait(10)
        done.set()

    waiting = executor.submit(slow)
    waiting.cancel()
    go.set()
    assert await executor.run(done.wait, 10)
    assert waiting.cancelled()
    executor.close()


async def test_close_waits_for_the_running_call_cancels_the_others_and_takes_no_more() -> None:
    executor = ThreadExecutor("disk")
    begun, go = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        go.wait(10)
        return "ended"

    running, queued = executor.submit(slow), executor.submit(slow)
    begun.wait(10)
    threading.Timer(0.05, go.set).start()
    executor.close()
    assert await running == "ended"
    with pytest.raises(asyncio.CancelledError):
        await queued
    with pytest.raises(RuntimeError):
        executor.submit(slow)
    ThreadExecutor("unused").close()
