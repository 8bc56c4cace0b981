"""The owner's lanes: partitions of `replies` and `completions`, read from their end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from shared.bus.ports import Bus, BusError, Reader, Record, Start, TopicPartition
from shared.contracts.freehold.control.v1.control_pb2 import NUMBER_KIND_LANE
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.rpc.numbers import Numbers

log = logging.getLogger(__name__)

REPLIES, COMPLETIONS = "replies", "completions"
MAX_RECORDS = 1000
POLL_S = 1.0
BACKOFF_S = 0.2

Found = Mapping[TopicPartition, list[Record]]


class Lanes:
    """Claims numbers once, then reads for ever. `handle` gets each poll's records and does not wait."""

    def __init__(
        self, bus: Bus, host: Host, numbers: Numbers, count: int, handle: Callable[[Found], None]
    ) -> None:
        self._bus = bus
        self._clock = host.clock
        self._incarnation = host.incarnation
        self._numbers = numbers
        self._count = count
        self._handle = handle
        self._reader: Reader | None = None
        self.numbers: list[int] = []
        """Claimed, and their positions are resolved: what is published from now on is read."""

    async def run(self) -> None:
        """Claim, then read until cancelled. Raises `FreeholdError` where no lane has a partition."""
        reader = self._reader = await self._open()
        while True:
            try:
                found = await reader.poll(MAX_RECORDS, POLL_S)
            except BusError as error:
                log.warning("the lanes cannot be read: %s", error)
                await self._clock.sleep(BACKOFF_S)
                continue
            self._handle(found)

    async def close(self) -> None:
        """Forget the positions."""
        if self._reader is not None:
            await self._reader.close()

    async def _open(self) -> Reader:
        claimed = await self._numbers.claim(NUMBER_KIND_LANE, self._count, self._incarnation)
        most = min(self._bus.partitions(REPLIES), self._bus.partitions(COMPLETIONS))
        lanes = [number for number in claimed if number < most]
        if not lanes:
            raise FreeholdError(Kind.INTERNAL, f"of the lanes {claimed} none is among {most} partitions")
        places = [TopicPartition(topic, lane) for topic in (REPLIES, COMPLETIONS) for lane in lanes]
        while True:
            try:
                reader = await self._bus.assign(places, Start.END)
            except BusError as error:
                log.warning("the lanes cannot be assigned: %s", error)
                await self._clock.sleep(BACKOFF_S)
                continue
            self.numbers = lanes
            return reader
