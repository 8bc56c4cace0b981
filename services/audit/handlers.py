"""Facts in, leaves out."""

from __future__ import annotations

from collections.abc import Callable

from services.audit.facts import Fact, FactInvalid, read_fact
from services.audit.log import Log, Unfit
from services.audit.observing import Observer
from shared.bus.envelope import EnvelopeError, parse_envelope
from shared.bus.handling import Batch
from shared.bus.ports import Record
from shared.clock import Clock
from shared.telemetry import Turn

TOPIC = "facts"
GROUP = "audit"
SLICE = 32
"""Facts read in one go, about 1 ms; then whoever waits for the event loop has his turn."""


class Handler:
    """Appends each batch of `facts` in one transaction."""

    def __init__(
        self,
        log: Log,
        on_append: Callable[[], None],
        observer: Observer,
        clock: Clock,
        interval_s: float,
        full: int,
    ) -> None:
        """Batches below `full` records wait until `interval_s` after the last: what comes meanwhile
        shares the next transaction. `on_append` is told once leaves are durable.
        """
        self._log = log
        self._on_append = on_append
        self._observer = observer
        self._clock = clock
        self._interval_s = interval_s
        self._full = full
        self._next = 0.0

    async def __call__(self, batch: Batch) -> None:
        """Return once every fact has its leaf, and every record that is no fact is parked.

        Raises `DatabaseError`.
        """
        if len(batch.records) < self._full and (rest := self._next - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)
        with self._observer.turn() as turn:
            await self._handle(batch, turn)

    async def _handle(self, batch: Batch, turn: Turn) -> None:
        facts: list[Fact] = []
        unfit: list[Unfit] = []
        requests: list[tuple[str, int, bytes]] = []
        for place, record in enumerate(batch.records, 1):
            if place % SLICE == 0:
                await self._clock.sleep(0)
            try:
                envelope = parse_envelope(record.headers)
                fact = read_fact(envelope.type, record.value)
            except (EnvelopeError, FactInvalid) as error:
                unfit.append(Unfit(record, str(error)))
            else:
                facts.append(fact)
                requests.append((fact.request, fact.seq, envelope.traceparent))
        begun = self._observer.now()
        appended = await self._log.append(facts, unfit)
        turn.stored(begun)
        if appended:
            self._next = self._clock.monotonic() + self._interval_s
        if facts:  # also those that were appended by a commit of unknown outcome: they are not signed yet
            self._on_append()
        self._observer.appended(turn, requests, appended, len(unfit))

    async def park(self, record: Record, error: Exception) -> None:
        """Store a record that could not be handled for a reason of its own. Raises `DatabaseError`."""
        await self._log.append([], [Unfit(record, repr(error))])
