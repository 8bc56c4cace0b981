"""The bus over Apache Kafka. Topics and groups have the installation's prefix on the wire only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable

from shared.bus.kafka import options
from shared.bus.kafka_fetching import ConsumerLife, Membership
from shared.bus.kafka_group import Member
from shared.bus.kafka_link import BEGINNING, END, Link
from shared.bus.kafka_publisher import KafkaPublisher
from shared.bus.kafka_reader import Born, KafkaReader
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_timing import Timing
from shared.bus.ports import (
    Assigned,
    BusError,
    BusRefused,
    Headers,
    Position,
    Reader,
    Revoked,
    Start,
    TopicPartition,
)
from shared.bus.topics import Topics
from shared.host import Host
from shared.lifecycle import READY, Readiness, Tasks

log = logging.getLogger(__name__)

MISSING_S = 5.0
"""A broker that has just started may not know its topics yet."""


class KafkaBus:
    """A `Bus` of one process. `client` is how the brokers' logs and metrics call it."""

    def __init__(
        self, host: Host, topics: Topics, settings: KafkaSettings, client: str, timing: Timing | None = None
    ) -> None:
        """Raises `BusRefused` for certificates that cannot be read."""
        self._clock = host.clock
        self._topics = topics
        self._settings = settings
        self._timing = timing or Timing()
        self._given = options(settings, client)
        self._link = Link(self._given, self._timing, host.clock, settings.prefix)
        self._tasks = Tasks("kafka")
        self._publisher = KafkaPublisher(
            host, topics, settings.prefix, self._given, self._timing, self._tasks
        )
        self._members: dict[tuple[str, str], KafkaReader] = {}
        self._readers: set[KafkaReader] = set()
        self._state = "is not started"

    async def start(self) -> None:
        """Wait for a broker, for ever, and connect. Raises `BusRefused`, in one line, where waiting
        does not help: credentials, TLS, topics that are missing or have too few partitions.
        """
        pause, waiting = self._timing.backoff, False
        while True:
            try:
                await self._link.open()
                await self._publisher.start(await self._check_topics())
                break
            except BusError as error:
                if isinstance(error, BusRefused):
                    await self._link.close()
                    raise
                if not waiting:
                    log.warning("waiting for Kafka at %s: %s", self._settings.bootstrap, error)
                waiting = True
            except BaseException:
                await self._link.close()
                raise
            await self._clock.sleep(pause)
            pause = min(pause * 2, self._timing.backoff_most)
        self._state = ""
        log.info("Kafka at %s is there", self._settings.bootstrap)

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        """See `Publisher.publish`. Raises `ValueError` for a partition that is not there, and for a
        record without key on a compacted topic.
        """
        return self._publisher.publish(topic, value, headers, key, partition)

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        return self._topics[topic].partitions

    def readiness(self) -> Readiness:
        """Not while nothing can be published or nothing comes back for longer than a hiccup lasts."""
        if self._state:
            return Readiness(False, f"the bus {self._state}")
        seconds, why = self._publisher.without_producer()
        if seconds >= self._timing.silent:
            return Readiness(False, f"nothing can be published for {seconds:.0f} s: {why}")
        unready = (state for reader in self._readers if not (state := reader.readiness()).ready)
        return next(unready, READY)

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        """See `Bus.group`. Returns once the member has its share. One that joins as a member that is
        there takes its place, and the others keep theirs.
        """
        self._check_open()
        wanted = frozenset(topics)
        for topic in wanted:
            self.partitions(topic)
        if (before := self._members.get((group, member))) is not None:
            before.end(f"another reader joined {group} as {member}", leave=False)
            await before.close()
        made = Member(group, member, wanted, on_assigned, on_revoked, self._link, self._timing)

        async def born(reader: KafkaReader) -> ConsumerLife:
            return await made.join(reader, self._life)

        reader = self._reader(f"{group}.{member}", born, grouped=True)
        self._members[group, member] = reader
        await self._started(reader)
        return reader

    async def assign(self, partitions: Iterable[TopicPartition], start: Start) -> Reader:
        """See `Bus.assign`."""
        self._check_open()
        places = list(partitions)
        for place in places:
            if not 0 <= place.partition < self.partitions(place.topic):
                raise KeyError(f"{place.topic} has no partition {place.partition}")
        begin = await self._link.offsets(places, END if start is Start.END else BEGINNING)

        async def born(reader: KafkaReader) -> ConsumerLife:
            life = self._life(None)
            await life.start()
            try:
                await life.read(reader.shelf.positions)
            except BaseException:
                await life.end(leave=False)
                raise
            return life

        reader = self._reader("+".join(sorted({place.topic for place in places})), born, grouped=False)
        reader.give(begin)
        await self._started(reader)
        return reader

    async def close(self) -> None:
        """See `Bus.close`. Idempotent; never hangs."""
        if self._state:
            return
        self._state = "is closed"
        readers = list(self._readers)
        for reader in readers:
            reader.end("the bus is closed", leave=True)
        flushing = self._tasks.spawn(self._publisher.close(), "close")
        for reader in readers:
            await reader.close()
        await asyncio.wait((flushing,))
        await self._link.close()
        await self._tasks.cancel()

    def _check_open(self) -> None:
        if self._state:
            raise BusError(f"the bus {self._state}")

    async def _check_topics(self) -> frozenset[str]:
        until = self._clock.monotonic() + MISSING_S
        while True:
            found = await self._link.partitions(self._topics)
            missing = sorted(name for name, number in found.items() if number == 0)
            few = sorted(
                f"{name} has {number} partitions, not {self.partitions(name)}"
                for name, number in found.items()
                if number and number < self.partitions(name)
            )
            if not missing and not few:
                return frozenset(name for name, number in found.items() if number is None)
            if few or self._clock.monotonic() >= until:
                break
            await self._clock.sleep(self._timing.backoff)
        lacks = [f"no topic {', '.join(missing)}"] if missing else []
        raise BusRefused(f"Kafka at {self._settings.bootstrap}: {'; '.join(lacks + few)}")

    def _life(self, membership: Membership | None) -> ConsumerLife:
        return ConsumerLife(self._given, self._timing, self._clock, self._settings.prefix, membership)

    def _reader(self, name: str, born: Born, *, grouped: bool) -> KafkaReader:
        return KafkaReader(name, self._clock, self._timing, born, self._ends, self._forget, grouped=grouped)

    async def _started(self, reader: KafkaReader) -> None:
        self._readers.add(reader)
        try:
            await reader.start()
        except BaseException:
            await reader.close()
            raise

    async def _ends(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._link.offsets(places, END)

    def _forget(self, reader: KafkaReader) -> None:
        self._readers.discard(reader)
        for seat, present in list(self._members.items()):
            if present is reader:
                del self._members[seat]
