"""Wiring of billing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import grpc

from services.billing import rpc, tables
from services.billing.books.rows import touch
from services.billing.handlers import ReserveHandler, SettleHandler
from services.billing.observing import Observer
from services.billing.publishing import SERVICE, Facts
from services.billing.rpc import BillingServicer
from services.billing.settings import BillingSettings
from services.billing.sweeping import Sweeper
from services.billing.watching import Watch
from shared.bus.consumer import Consumer, InGroup
from shared.bus.ports import BusError, Reader, Start, TopicPartition
from shared.bus.topics import Topics
from shared.lifecycle import READY, Readiness, Tasks
from shared.platform import Platform
from shared.storage.database import Database, DatabaseError
from shared.storage.outbox import Relay

log = logging.getLogger(__name__)

RESERVES: Final = "reserves"
EVIDENCE: Final = ("usage", "closed")
RETRY_S: Final = 0.5


class Ends:
    """Offsets after the last record of `usage` and `closed`, whichever replica reads which partition."""

    def __init__(self, platform: Platform) -> None:
        self._bus = platform.bus
        self._reader: Reader | None = None

    async def __call__(self) -> Mapping[TopicPartition, int]:
        """All partitions. Raises `BusError`."""
        if self._reader is None:
            places = [
                TopicPartition(topic, number)
                for topic in EVIDENCE
                for number in range(self._bus.partitions(topic))
            ]
            self._reader = await self._bus.assign(places, Start.END)
            self._reader.pause(places)  # it is only asked, never polled
        return await self._reader.end_offsets()

    async def close(self) -> None:
        """Let go of the bus."""
        if self._reader is not None:
            await self._reader.close()


class BillingService:
    """Billing as a process runs it."""

    name = SERVICE

    def __init__(
        self,
        settings: BillingSettings,
        platform: Platform,
        database: Database,
        consumers: tuple[Consumer, Consumer],
        settling: SettleHandler,
        sweeper: Sweeper,
        relay: Relay,
        ends: Ends,
        watch: Watch,
        servicer: BillingServicer,
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._database = database
        self._consumers = consumers
        self._settling = settling
        self._relay = relay
        self._ends = ends
        self._watch = watch
        self._servicer = servicer
        self._tasks = Tasks(SERVICE)
        self._consuming = False
        self.sweeper = sweeper
        """For whoever cannot wait a period."""

    async def start(self) -> None:
        """Publish what an earlier life left in the outbox; consume once the configuration is there."""
        await self._relay.start()
        self._platform.pulses.add(self.name, lambda: self.readiness().ready)
        self._tasks.spawn(self._begin(), "begin")

    async def stop(self, deadline: float) -> None:
        """Finish the batches at hand by the deadline (monotonic seconds); what waits is in the tables."""
        await self._tasks.cancel()
        for consumer in self._consumers:
            await consumer.stop(deadline)
        await self._settling.stop()
        await self._relay.stop(deadline)
        await self._ends.close()
        await self._database.close()

    def readiness(self) -> Readiness:
        """Ready while reserves are answered and evidence is settled."""
        if not self._consuming:
            config = self._platform.config.readiness()
            return Readiness(False, config.reason or "billing has not joined the bus")
        for consumer in self._consumers:
            if not (found := consumer.readiness()).ready:
                return found
        return READY

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add `freehold.billing.v1.Billing`."""
        return rpc.register(server, self._servicer)

    async def _begin(self) -> None:
        await self._platform.config.wait_ready()
        waiting = list(self._consumers)
        while waiting:
            try:
                await self._database.transact(touch)
                await waiting[0].start()
                waiting.pop(0)
            except (BusError, DatabaseError) as error:
                log.warning("billing cannot begin: %s", error)
                await self._platform.host.clock.sleep(RETRY_S)
        self._consuming = True
        self._tasks.spawn(self._watch.run(), "watch")
        if self._settings.sole_process:
            await self.sweeper.recover()
        await self.sweeper.run()


def build(
    settings: BillingSettings, platform: Platform, topics: Topics, database: Database
) -> BillingService:
    """Billing over its own database, already migrated."""
    host, configuration = platform.host, platform.configuration
    observer = Observer(platform.telemetry, host.clock)
    facts = Facts(platform.bus, host.incarnation)
    relay = Relay(database, tables.outbox, platform.bus, host)
    ends = Ends(platform)
    reserving = ReserveHandler(configuration, database, platform.bus, host.incarnation, observer)
    interval_s, full = settings.settle_interval_ms / 1e3, settings.max_records
    settling = SettleHandler(configuration, database, facts, host, observer, interval_s, full)
    answering = Consumer(
        platform.bus,
        host,
        topics,
        InGroup((RESERVES,), "billing.reserve", settings.member),
        reserving,
        on_poison=reserving.answer_poison,
        observer=platform.telemetry.consumer("billing.reserve"),
        max_records=settings.max_records,
    )
    joining = Consumer(
        platform.bus,
        host,
        topics,
        InGroup(EVIDENCE, "billing.settle", settings.member),
        settling,
        park=settling.park,
        observer=platform.telemetry.consumer("billing.settle"),
        max_records=settings.max_records,
    )
    sweeper = Sweeper(
        database,
        ends,
        lambda: platform.pulses.own_broker_ms,
        facts,
        relay,
        host,
        observer,
        settings.sweep_period_s,
    )
    watch = Watch(database, configuration, host.clock, platform.telemetry, settings.watch_period_s)
    servicer = BillingServicer(configuration, database, facts, lambda: host.clock.time_ns() // 1_000_000)
    return BillingService(
        settings, platform, database, (joining, answering), settling, sweeper, relay, ends, watch, servicer
    )
