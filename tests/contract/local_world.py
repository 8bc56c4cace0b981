"""The bus inside one process, on a good day or by the numbers of a seed."""

from __future__ import annotations

import random
from pathlib import Path

from shared.bus.chaos import ChaosBus
from shared.bus.local import LocalBus
from shared.bus.ports import Bus
from shared.bus.topics import load_topics
from shared.host import system_host


class LocalWorld:
    """Buses over one file. `seed` None is a good day."""

    def __init__(self, folder: Path, seed: int | None = None) -> None:
        self.host = system_host()
        self.topics = load_topics("embedded")
        self._path = folder / "bus.db"
        self._seed = seed
        self._opened: list[LocalBus] = []

    @property
    def orderly(self) -> bool:
        """See `World.orderly`."""
        return self._seed is None

    async def bus(self, cap_bytes: int = 64 << 20) -> Bus:
        """A bus on this world's file; what an earlier one kept only in memory is gone."""
        bus = LocalBus(self.host, self.topics, self._path, cap_bytes=cap_bytes, kept_bytes=cap_bytes // 4)
        await bus.start()
        self._opened.append(bus)
        if self._seed is None:
            return bus
        return ChaosBus(bus, self.host.clock, random.Random(self._seed))

    async def end(self) -> None:
        """Close what the test left open."""
        for bus in self._opened:
            await bus.close()
