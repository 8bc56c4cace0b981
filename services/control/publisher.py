"""Publishing the configuration: all of it at start, a marker now and then, facts again when asked."""

from __future__ import annotations

import logging

from services.control import repository, tables
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.lifecycle import Tasks
from shared.storage.database import Database, DatabaseError
from shared.storage.outbox import Relay, append

log = logging.getLogger(__name__)

MAX_REPUBLISHED = 10_000
MAX_SEQ = 2**62
"""Far above any fact's, and within what the database can compare with."""


class Publications:
    """What control publishes beside single changes."""

    def __init__(self, database: Database, relay: Relay, host: Host, marker_period_s: float) -> None:
        self._database = database
        self._relay = relay
        self._host = host
        self._period = marker_period_s
        self._tasks = Tasks("control.publisher")

    async def start(self) -> None:
        """Publish everything and a marker of a new epoch, then markers of it for ever."""
        sender = self._host.incarnation
        epoch = await self._database.transact(lambda connection: repository.publish_all(connection, sender))
        self._relay.wake()
        self._tasks.spawn(self._mark(epoch), "markers")

    async def stop(self) -> None:
        """Publish no more markers."""
        await self._tasks.cancel()

    async def republish(self, first: int, last: int) -> int:
        """Publish the facts of a range again; how many there were. Raises `FreeholdError` BAD_REQUEST."""
        if not 0 < first <= last <= MAX_SEQ or last - first >= MAX_REPUBLISHED:
            raise FreeholdError(Kind.BAD_REQUEST, f"a range is 1 to {MAX_REPUBLISHED} facts, first to last")
        found = await self._database.read(
            lambda connection: repository.facts_between(connection, first, last)
        )
        sender = self._host.incarnation
        records = [repository.fact_outgoing(ConfigurationChanged.FromString(fact), sender) for fact in found]
        await self._database.transact(lambda connection: append(connection, tables.outbox, records))
        self._relay.wake()
        return len(records)

    async def _mark(self, epoch: int) -> None:
        sender = self._host.incarnation
        while True:
            await self._host.clock.sleep(self._period)
            try:
                await self._database.transact(lambda connection: repository.mark(connection, epoch, sender))
                self._relay.wake()
            except DatabaseError as error:
                log.warning("no marker was written: %s", error)
