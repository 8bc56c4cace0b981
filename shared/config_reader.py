"""Keeps a process's `Configuration` in step with the topic `config`."""

from __future__ import annotations

import asyncio
import logging

from shared.bus.ports import Bus, BusError, Reader, Start, TopicPartition
from shared.configuration import Configuration, config_key
from shared.host import Host
from shared.lifecycle import READY, Readiness, Tasks

log = logging.getLogger(__name__)

CONFIG = TopicPartition("config", 0)
MARKER = config_key("marker", "control")
BACKOFF_S = 0.5


class ConfigReader:
    """Reads `config` from the beginning, for ever, without a group.

    Ready once the end offset seen at start has been read *and* a marker was seen: then everything
    that control had published is here.
    """

    def __init__(self, bus: Bus, host: Host, configuration: Configuration) -> None:
        self._bus = bus
        self._host = host
        self._configuration = configuration
        self._tasks = Tasks("config")
        self._reader: Reader | None = None
        self._end: int | None = None
        self._ready = asyncio.Event()
        self.rejected = 0
        """Values that could not be understood; the last good ones stay in force."""
        self._marked = host.clock.monotonic()

    async def start(self) -> None:
        """Begin to read; readiness comes later."""
        self._tasks.spawn(self._run(), "reader")

    async def stop(self, deadline: float) -> None:
        """Stop reading."""
        del deadline
        await self._tasks.cancel()
        if self._reader:
            await self._reader.close()

    async def wait_ready(self) -> None:
        """Return once ready."""
        await self._ready.wait()

    @property
    def marker_age(self) -> float:
        """Seconds since a marker was read, before the first since this was made: how long control has
        been silent.
        """
        return self._host.clock.monotonic() - self._marked

    def readiness(self) -> Readiness:
        """Whether the configuration is whole."""
        if self._ready.is_set():
            return READY
        return Readiness(False, "the configuration has not been read to its end and a marker")

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except BusError as error:
                log.warning("config cannot be read: %s", error)
                await self._host.clock.sleep(BACKOFF_S)

    async def _read(self) -> None:
        if self._reader is None:
            self._reader = await self._bus.assign([CONFIG], Start.BEGINNING)
        if self._end is None:
            self._end = (await self._reader.end_offsets())[CONFIG]
        for records in (await self._reader.poll(1000, 1.0)).values():
            for record in records:
                try:
                    self._configuration.apply(record)
                except ValueError as error:
                    self.rejected += 1
                    log.error("a configuration value was rejected, the last good one stays: %s", error)
                if record.key == MARKER:
                    self._marked = self._host.clock.monotonic()
        if self._reader.positions()[CONFIG] >= self._end and self._configuration.epoch:
            self._ready.set()
