"""The bus over a real broker, as one more world."""

from __future__ import annotations

from itertools import count

from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_timing import Timing
from shared.bus.ports import Bus
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.servers.kafka import Kafka
from tests.servers.topics import make_topics

BRISK = Timing(heartbeat=0.1, stop=1.0, acknowledge=20.0, stuck=60.0, ask=20.0)
"""Members hear of a rebalance by their next heartbeat, and a busy machine must not look like a bad day."""
_worlds = count()


class KafkaWorld:
    """Buses over topics of one prefix, which no other world has."""

    orderly = True

    def __init__(self, settings: KafkaSettings, timing: Timing = BRISK) -> None:
        self.host = system_host()
        self.topics = load_topics("embedded")
        self.settings = settings
        self._timing = timing
        self._opened: list[KafkaBus] = []

    @classmethod
    async def made(cls, kafka: Kafka, timing: Timing = BRISK) -> KafkaWorld:
        """A world of its own on this broker."""
        world = cls(kafka.settings(prefix=f"w{next(_worlds)}."), timing)
        await make_topics(world.topics, world.settings)
        return world

    async def bus(self) -> Bus:
        """Another process's bus. Those opened before live on."""
        bus = KafkaBus(self.host, self.topics, self.settings, "test", self._timing)
        await bus.start()
        self._opened.append(bus)
        return bus

    async def end(self) -> None:
        """Close what the test left open."""
        for bus in self._opened:
            await bus.close()
