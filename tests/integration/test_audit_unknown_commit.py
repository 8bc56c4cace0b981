"""A commit that was done and said to have failed: what it appended is signed all the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.audit.facts import Fact
from services.audit.handlers import Handler
from services.audit.log import Log, Unfit
from services.audit.observing import Observer
from shared.bus.envelope import Envelope
from shared.bus.handling import Batch
from shared.bus.ports import Record
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.host import system_host
from shared.storage.database import DatabaseError
from shared.telemetry import Telemetry, TelemetrySettings
from tests.integration.audit_log_world import life

REQUEST = "01890a5d-ac96-774b-bcce-b302099a8057"


class UnknownOnce:
    """A log whose first append is done and raises."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._raised = False

    async def append(self, facts: Sequence[Fact], unfit: Sequence[Unfit] = ()) -> int:
        new = await self._log.append(facts, unfit)
        if not self._raised:
            self._raised = True
            raise DatabaseError("gone at the commit, which was done")
        return new


async def test_what_a_commit_of_unknown_outcome_appended_is_signed(tmp_path: Path) -> None:
    host = system_host()
    value = RequestSettled(request=REQUEST, organisation="org", seq=1).SerializeToString()
    headers = Envelope("RequestSettled", "e", 1, request=REQUEST, tenant="org").headers()
    batch = Batch("facts", 0, [Record("facts", 0, 0, 0, None, value, headers)])
    wanted: list[int] = []
    async with life(tmp_path) as log:
        observer = Observer(Telemetry(host, TelemetrySettings()), host.clock)
        told = UnknownOnce(log)
        handler = Handler(told, lambda: wanted.append(log.size), observer, host.clock, 0.0, 500)  # type: ignore[arg-type]
        with pytest.raises(DatabaseError):
            await handler(batch)
        assert not wanted
        await handler(batch)  # the bus delivers again what was not committed
        assert wanted, "whoever signs is told, though nothing was new"
        await log.publish()
        assert (log.size, log.signed) == (1, 1)
