"""Wiring of audit."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc

from services.audit import rpc
from services.audit.handlers import GROUP, TOPIC, Handler
from services.audit.keys import KeyInvalid, keep_key, load_key
from services.audit.log import Log
from services.audit.mender import Mender, Republish
from services.audit.observing import Observer, tell
from services.audit.publisher import Publisher
from services.audit.rpc import AuditServicer
from services.audit.settings import AuditSettings
from services.audit.site import Site
from services.audit.tlog.note import Signer
from shared.bus.consumer import Consumer, InGroup
from shared.bus.ports import BusError
from shared.bus.topics import Topics
from shared.errors import FreeholdError, Kind
from shared.executor import Executor
from shared.lifecycle import Readiness, Tasks
from shared.platform import Platform
from shared.storage.database import Database, DatabaseError

log = logging.getLogger(__name__)

LOG_FOLDER = "log"
"""Below the service's folder: the static files, for any web server to serve."""
RETRY_S = 0.5


class AuditService:
    """Audit as a process runs it."""

    name = "audit"

    def __init__(
        self,
        platform: Platform,
        database: Database,
        executor: Executor,
        log_: Log,
        consumer: Consumer,
        publisher: Publisher,
        mender: Mender,
        servicer: AuditServicer,
    ) -> None:
        self._platform = platform
        self._database = database
        self._executor = executor
        self._consumer = consumer
        self._publisher = publisher
        self._mender = mender
        self._servicer = servicer
        self._tasks = Tasks("audit")
        self._consuming = False
        self.log = log_
        """For whoever shows the public key."""

    async def start(self) -> None:
        """Check the log against its last checkpoint and finish what was left undone; consume once the
        configuration is there. Raises `FreeholdError`.
        """
        try:
            await self.log.open()
        except DatabaseError as error:
            raise FreeholdError(Kind.NOT_READY, f"the transparency log cannot be opened: {error}") from error
        self._publisher.start()
        self._mender.start()
        self._platform.pulses.add(self.name, lambda: self.readiness().ready)
        self._tasks.spawn(self._consume(), "consume")

    async def stop(self, deadline: float) -> None:
        """Append and sign what was taken, by the deadline (monotonic seconds)."""
        await self._tasks.cancel()
        await self._consumer.stop(deadline)
        await self._mender.stop()
        await self._publisher.stop(deadline)
        self._executor.close()
        await self._database.close()

    def readiness(self) -> Readiness:
        """Ready while facts are taken and checkpoints signed."""
        if not self._consuming:
            config = self._platform.config.readiness()
            return Readiness(False, config.reason or "audit has not joined the bus")
        consumer = self._consumer.readiness()
        return self._publisher.readiness() if consumer.ready else consumer

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add `freehold.audit.v1.Audit`."""
        return rpc.register(server, self._servicer)

    async def _consume(self) -> None:
        await self._platform.config.wait_ready()
        while not self._consuming:
            try:
                await self._consumer.start()
                self._consuming = True
            except BusError as error:
                log.warning("audit cannot join the bus: %s", error)
                await self._platform.host.clock.sleep(RETRY_S)


def build(
    settings: AuditSettings,
    platform: Platform,
    topics: Topics,
    database: Database,
    folder: Path,
    republish: Republish,
) -> AuditService:
    """Audit over its own database. `folder` holds the key pair, unless the settings name a key, and the
    log's static files. Blocks for a moment; raises `FreeholdError` where the key cannot be used.
    """
    host = platform.host
    try:
        signer = _signer(settings, platform, folder)
    except KeyInvalid as error:
        raise FreeholdError(Kind.NOT_READY, str(error)) from error
    executor = host.executor("audit")
    log_ = Log(database, Site(host.files, folder / LOG_FOLDER), executor, signer, host.clock)
    publisher = Publisher(log_, host.clock, settings.checkpoint_interval_ms / 1e3)
    observer = Observer(platform.telemetry, host.clock)
    handler = Handler(
        log_, publisher.wake, observer, host.clock, settings.batch_interval_ms / 1e3, settings.batch
    )
    consumer = Consumer(
        platform.bus,
        host,
        topics,
        InGroup((TOPIC,), GROUP, settings.member),
        handler,
        park=handler.park,
        observer=platform.telemetry.consumer(GROUP),
        max_records=settings.batch,
    )
    mender = Mender(log_, republish, host.clock, settings.gap_age_s, settings.gap_period_s)
    tell(platform.telemetry, host.clock, log_, mender, lambda: host.files.free_bytes(folder))
    servicer = AuditServicer(log_, host.clock, settings.receipt_patience_s)
    return AuditService(platform, database, executor, log_, consumer, publisher, mender, servicer)


def _signer(settings: AuditSettings, platform: Platform, folder: Path) -> Signer:
    files = platform.host.files
    if settings.key_file is not None:
        return load_key(files, settings.key_file, settings.origin)
    return keep_key(files, folder, settings.origin, platform.host.random)
