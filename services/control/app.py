"""Wiring of control."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from services.control import repository, rpc, tables
from services.control.claims import Claims
from services.control.keeper import Keeper
from services.control.publisher import Publications
from services.control.rpc import ControlServicer
from services.control.settings import ControlSettings
from shared.lifecycle import READY, Readiness
from shared.platform import Platform
from shared.storage.database import Database
from shared.storage.outbox import Relay, Shared


class ControlService:
    """Control as a process runs it. Needs nothing but its database to start."""

    name = "control"

    def __init__(
        self,
        platform: Platform,
        database: Database,
        keeper: Keeper,
        relay: Relay,
        publications: Publications,
        claims: Claims,
    ) -> None:
        self._platform = platform
        self._database = database
        self._relay = relay
        self._publications = publications
        self._servicer = ControlServicer(keeper, claims, publications)
        self._started = False
        self.keeper = keeper

    async def start(self) -> None:
        """Load what is stored and publish it."""
        await self.keeper.load()
        await self._relay.start()
        await self._publications.start()
        self._platform.pulses.add(self.name, lambda: self.readiness().ready)
        self._started = True

    async def stop(self, deadline: float) -> None:
        """Stop publishing; what is in the outbox waits for the next start."""
        self._started = False
        await self._publications.stop()
        await self.keeper.close(deadline)
        await self._relay.stop(deadline)
        await self._database.close()

    def readiness(self) -> Readiness:
        """Ready once started, as long as what is stored is also published."""
        if not self._started:
            return Readiness(False, "control has not started")
        if self._relay.fault:
            return Readiness(False, f"changes wait to be published: {self._relay.fault}")
        return READY

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add `freehold.control.v1.Control`."""
        return rpc.register(server, self._servicer)


def build(
    settings: ControlSettings, platform: Platform, database: Database, peppers: Mapping[int, bytes]
) -> ControlService:
    """Control over its own database; `peppers` by version, the highest is used for new keys."""
    sender = platform.host.incarnation
    shared = Shared(str(sender), lambda connection: repository.publish_all(connection, sender))
    relay = Relay(database, tables.outbox, platform.bus, platform.host, shared)
    keeper = Keeper(database, relay, platform.host, peppers)
    publications = Publications(database, relay, platform.host, settings.marker_period_s)
    claims = Claims(database, platform.host, settings)
    return ControlService(platform, database, keeper, relay, publications, claims)
