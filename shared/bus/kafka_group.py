"""A member of a group: what a rebalance means to its reader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from shared.bus.kafka_fetching import ConsumerLife, Membership
from shared.bus.kafka_link import BEGINNING, Link
from shared.bus.kafka_reader import KafkaReader
from shared.bus.kafka_timing import Timing
from shared.bus.ports import Assigned, BusError, Revoked, TopicPartition

log = logging.getLogger(__name__)


class MakesLife(Protocol):
    """Makes a consumer that is not started."""

    def __call__(self, membership: Membership) -> ConsumerLife: ...


class Member:
    """The library revokes all partitions before each rebalance, whoever gets them: so is its protocol.

    A revocation freezes the partitions, lets the callback drain and commit them, and loses them. An
    assignment finds the group's offsets (the beginning, where it has none) before the first record.
    """

    def __init__(
        self,
        group: str,
        name: str,
        topics: frozenset[str],
        on_assigned: Assigned,
        on_revoked: Revoked,
        link: Link,
        timing: Timing,
    ) -> None:
        self.group = group
        self.name = name
        self._topics = topics
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._link = link
        self._timing = timing
        self._settled = asyncio.Event()
        self._failure: BusError | None = None
        self._life: ConsumerLife | None = None
        self._reader: KafkaReader | None = None

    async def join(self, reader: KafkaReader, make: MakesLife) -> ConsumerLife:
        """A consumer that is a member and has its share. Raises `BusError`."""
        self._reader = reader
        if reader.shelf.positions:
            await self._revoked(list(reader.shelf.positions))
        self._settled.clear()
        self._failure = None
        told = (self._revoked, self._assigned, self._fenced, self._failed)
        life = make(Membership(self.group, self.name, *told))
        await life.start()
        self._life = life
        try:
            async with asyncio.timeout(self._timing.join):
                await life.join(self._topics)
                await self._settled.wait()
            self._check()
        except TimeoutError as error:
            await life.end(leave=True)
            raise BusError(f"{self.group}: no partitions were given in {self._timing.join:g} s") from error
        except BaseException:
            await life.end(leave=True)
            raise
        return life

    async def _revoked(self, places: list[TopicPartition]) -> None:
        if self._reader is None or not places:
            return
        self._reader.shelf.freeze(places)
        await self._tell(self._on_revoked, places, self._timing.revoke)
        self._reader.shelf.lose(places)

    async def _assigned(self, places: list[TopicPartition]) -> None:
        if self._reader is None or self._life is None:
            return
        try:
            async with asyncio.timeout(self._timing.session / 2):  # nobody beats for us meanwhile
                positions = await self._life.committed(places)
                missing = [one for one in places if one not in positions]
                positions |= await self._link.offsets(missing, BEGINNING)
        except (BusError, TimeoutError) as error:
            log.warning("%s: joins again, as its offsets are not known: %r", self.group, error)
            self._life.rejoin()
            return
        for place, offset in positions.items():
            self._life.seek(place, offset)
        if places:
            await self._tell(self._on_assigned, places, self._timing.session / 2)
        self._reader.give(positions)
        self._settled.set()

    def _failed(self, error: BusError) -> None:
        """Later ones come to who polls."""
        if not self._settled.is_set():
            self._failure = error
            self._settled.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fenced(self) -> None:
        if self._reader is not None:
            log.error("%s: another reader joined as %s; two processes share this name", self.group, self.name)
            self._reader.end(f"another reader joined {self.group} as {self.name}", leave=False)

    async def _tell(
        self,
        callback: Callable[[Iterable[TopicPartition]], Awaitable[None]],
        places: list[TopicPartition],
        seconds: float,
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                await callback(places)
        except Exception:
            log.exception("%s: a member failed to give up or take partitions", self.group)
