"""Topics of a test's own on a running broker."""

from __future__ import annotations

import asyncio

from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_topics import apply
from shared.bus.ports import BusError, BusRefused
from shared.bus.topics import Topics

PATIENCE_S = 60.0
STEP_S = 0.1


async def make_topics(topics: Topics, settings: KafkaSettings) -> None:
    """Return once they are there: a broker that a busy machine or a test held up is let back in first."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await apply(topics, settings)
            except BusRefused:
                raise
            except BusError:
                await asyncio.sleep(STEP_S)
            else:
                return
