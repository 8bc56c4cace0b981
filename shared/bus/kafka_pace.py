"""Where a partition has no leader, or no broker answers, the library asks for metadata again as soon as it
has been told: a thousand times a second, on the loop that has better to do.
"""

from __future__ import annotations

from typing import Any

from shared.clock import Clock

APART_S = 0.1


def pace(client: Any, clock: Clock) -> None:
    """Let this client ask at most once in so many seconds; whoever asks in between waits for the next."""
    library, last = client._metadata_update, -APART_S

    async def update(*given: Any) -> bool:
        nonlocal last
        wait = last + APART_S - clock.monotonic()
        if wait > 0:
            await clock.sleep(wait)
        last = clock.monotonic()
        told: bool = await library(*given)
        return told

    client._metadata_update = update
