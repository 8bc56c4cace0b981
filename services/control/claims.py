"""Lanes and seats: numbers that processes claim. They are addresses, not locks."""

from __future__ import annotations

from services.control import repository
from services.control.settings import ControlSettings
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.storage.database import Database


class Claims:
    """Gives the lowest free numbers; a number is free once it was not renewed for a while."""

    def __init__(self, database: Database, host: Host, settings: ControlSettings) -> None:
        self._database = database
        self._host = host
        self._free_ms = int(settings.claim_period_s * 1000)
        self._totals = {pb.NUMBER_KIND_LANE: settings.lanes, pb.NUMBER_KIND_SEAT: settings.seats}

    async def claim(self, kind: pb.NumberKind, count: int, incarnation: int) -> list[int]:
        """Up to `count` numbers. Raises `FreeholdError` BAD_REQUEST."""
        total = self._totals.get(kind)
        if total is None or not 1 <= count <= total or not incarnation:
            raise FreeholdError(Kind.BAD_REQUEST, "kind, count and incarnation must be given")
        now_ms = self._host.clock.time_ns() // 1_000_000
        return await self._database.transact(
            lambda connection: repository.claim(
                connection, int(kind), count, incarnation, now_ms, self._free_ms, total
            )
        )
