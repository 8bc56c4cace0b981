"""The owner of requests: takes them in, drives their states, carries out their effects, closes them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from services.edge.answer import Answer, Submission
from services.edge.handlers import Handlers
from services.edge.owner.acceptance import Acceptance
from services.edge.owner.admission import Admission, Limits
from services.edge.owner.carrying import Carrier
from services.edge.owner.dispatching import Dispatcher
from services.edge.owner.entry import Entry, InFlight
from services.edge.owner.insisting import Letter
from services.edge.owner.lanes import REPLIES, Found, Lanes
from services.edge.owner.lawful import is_lawful
from services.edge.owner.observing import Observer
from services.edge.owner.unheld import Unheld
from shared.bus.envelope import Envelope
from shared.bus.ports import Record
from shared.errors import FreeholdError, Kind
from shared.lifecycle import READY, Readiness, Tasks
from shared.platform import Platform
from shared.pulses import Seen
from shared.rpc.numbers import Numbers

log = logging.getLogger(__name__)

SERVICE = "edge"
TICK_S = 0.1
"""How exact the table's times are."""
SLOW_TICKS = 10
"""Ticks between two looks at what changes slowly: keys, pools."""
STILL_S = 1.0
"""Between two sweeps: the process was stopped, or starved. What came meanwhile is read for as long before
anything is found late."""
SILENT_S = 3.0
"""Since anything was read: the bus carries nothing, and no work is lost by sending it there."""
DRAIN_SHARE = 0.8
"""Of a stop's time: what requests in flight may use to end by themselves."""
WAIT_S = 0.02
LANES = 4
LISTENED = 3
"""Own pulses after which whoever lives was heard: they come once a second, as everybody's."""


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """What an operator may change of the owner."""

    limits: Limits = field(default_factory=Limits)
    lanes: int = LANES
    """Lanes to claim."""


class Owner:
    """Everything runs in one event loop; no task, queue or timeout a request."""

    def __init__(self, platform: Platform, numbers: Numbers, settings: OwnerSettings | None = None) -> None:
        settings = settings or OwnerSettings()
        host = platform.host
        self._platform = platform
        self._clock = host.clock
        self._in_flight = InFlight()
        self._observer = Observer(platform.telemetry, host.clock)
        self._observer.tell(lambda: platform.pulses.workers().values())
        self._dispatcher = Dispatcher(platform.pulses, platform.bus.partitions("work"))
        self._admission = Admission(settings.limits, host.random)
        self._acceptance = Acceptance(
            host,
            platform.configuration,
            platform.pulses,
            self._dispatcher,
            self._admission,
            settings.limits.deadline_s,
        )
        self._carrier = Carrier(
            host, platform.bus, self._in_flight, self._dispatcher, self._admission, self._observer
        )
        self._unheld = Unheld()
        self._handlers = Handlers(
            host.incarnation,
            self._in_flight,
            self._unheld,
            self._dispatcher,
            self._observer,
            self._carrier.apply,
            self._cancel_unheld,
            self._dead_letter,
        )
        self._lanes = Lanes(platform.bus, host, numbers, settings.lanes, self._handle)
        self._tasks = Tasks("edge.owner", self._lost_task)
        self._read_at = float("-inf")
        self._keys_changed = False
        self._stopping = False
        self._told_ready = False
        self._fault = ""

    async def start(self) -> None:
        """Begin to read and to sweep; readiness comes once the lanes are claimed."""
        pulses = self._platform.pulses
        pulses.add(SERVICE, lambda: self.readiness().ready)
        pulses.listeners.append(self._hear)
        self._platform.configuration.listeners.append(self._configured)
        self._tasks.spawn(self._lanes.run(), "lanes")
        self._tasks.spawn(self._sweep(), "sweep")

    def submit(self, submission: Submission) -> Answer:
        """Take a request over. Raises `FreeholdError` where it is not taken at all: then there is no
        record of it anywhere.
        """
        now, readiness = self._clock.monotonic(), self.readiness()
        try:
            if not readiness.ready:
                raise FreeholdError(Kind.NOT_READY, readiness.reason, retry_after=1)
            entry = self._acceptance.accept(submission, self._lanes.numbers, self, now)
        except FreeholdError as error:
            self._observer.not_taken(error)
            raise
        self._carrier.begin(entry, now)
        return entry.answer

    def readiness(self) -> Readiness:
        """Lanes claimed, configuration whole, own pulse read back, and the others' heard or listened for.

        Not: any of them alive, or all edges would be gone with one service; requests are answered 503 then.
        """
        if self._fault or self._stopping:
            return Readiness(False, self._fault or "the edge is stopping")
        if not self._lanes.numbers:
            return Readiness(False, "the edge has no lanes yet")
        if not self._platform.pulses.own_read:
            return Readiness(False, "the edge has not read its own pulse back")
        missing = self._acceptance.missing or ("" if self._platform.pulses.workers() else "inference")
        if missing and self._platform.pulses.own_read < LISTENED:
            return Readiness(False, f"the edge has not heard of the service {missing} yet")
        configured = self._platform.config.readiness()
        return configured if not configured.ready else READY

    async def drain(self, deadline: float) -> None:
        """Take nothing new; return once nothing is in flight, or at the deadline (monotonic seconds)."""
        self._stopping = True
        while len(self._in_flight) and self._clock.monotonic() < deadline:
            await self._clock.sleep(WAIT_S)

    async def stop(self, deadline: float) -> None:
        """Drain, fail what is left, wait until every close is acknowledged or the deadline. Idempotent."""
        now = self._clock.monotonic()
        await self.drain(now + (deadline - now) * DRAIN_SHARE)
        now = self._clock.monotonic()
        for entry in self._in_flight.all():
            self._carrier.apply(entry, entry.machine.shut_down(), now)
        while len(self._carrier.insistence) and self._clock.monotonic() < deadline:
            await self._clock.sleep(WAIT_S)
        if left := len(self._carrier.insistence):
            log.error("%d closes and cancels are not acknowledged by the bus", left)
        await self._tasks.cancel()
        await self._lanes.close()
        if self._hear in self._platform.pulses.listeners:
            self._platform.pulses.listeners.remove(self._hear)
            self._platform.configuration.listeners.remove(self._configured)

    def left(self, request: str, reason: str) -> None:
        """See `Exits.left`."""
        self._exit(request, lambda entry: self._carrier.apply(entry, entry.machine.left(reason), self._now()))

    def sent(self, request: str) -> None:
        """See `Exits.sent`."""
        self._exit(request, lambda entry: self._carrier.apply(entry, entry.machine.sent(), self._now()))

    def _exit(self, request: str, act: Callable[[Entry], None]) -> None:
        if entry := self._in_flight.by_request.get(request):
            act(entry)

    def _now(self) -> float:
        return self._clock.monotonic()

    def _handle(self, found: Found) -> None:
        now = self._clock.monotonic()
        for place, records in found.items():
            handle = self._handlers.reply if place.topic == REPLIES else self._handlers.completion
            for record in records:
                handle(record, now)
        if found:
            self._read_at = now
            self._carrier.pump(now)

    def _hear(self, seen: Seen) -> None:
        self._dispatcher.hear(seen)
        self._acceptance.hear()
        now = self._clock.monotonic()
        if seen.incarnation == self._platform.host.incarnation:  # the measure of silence
            self._lose_suspects(now)
        self._read_at = now
        self._carrier.pump(now)

    def _configured(self, kind: str, identifier: str) -> None:
        del identifier
        if kind in ("key", "project", "organisation"):
            self._keys_changed = True

    async def _sweep(self) -> None:
        turn, before, heard_at = 0, self._clock.monotonic(), 0.0
        while True:
            await self._clock.sleep(TICK_S)
            turn += 1
            now = self._clock.monotonic()
            if now - before >= STILL_S:
                log.warning("the process stood still for %.1f s", now - before)
                heard_at = now + STILL_S
            before = now
            self._tell_readiness()
            self._dispatcher.look(now)
            if now >= heard_at:
                self._tick(now)
            if self._keys_changed or turn % SLOW_TICKS == 0:
                self._keys_changed = False
                self._end_unlawful(now)
            if turn % SLOW_TICKS == 0:
                self._look_slowly(now)
            self._carrier.insistence.retry()
            if now - self._read_at <= SILENT_S:
                self._carrier.pump(now)

    def _tick(self, now: float) -> None:
        for entry in self._in_flight.all():
            self._carrier.apply(entry, entry.machine.tick(now, self._dispatcher.seat_seen(entry)), now)

    def _tell_readiness(self) -> None:
        ready = self.readiness().ready
        if ready != self._told_ready:
            self._told_ready = ready
            self._platform.pulses.send_now()

    def _end_unlawful(self, now: float) -> None:
        """Cancel what runs for keys that are revoked, expired, or of somebody disabled."""
        configuration, now_ns = self._platform.configuration, self._clock.time_ns()
        lawful: dict[str, bool] = {}
        for entry in self._in_flight.all():
            identifier = entry.submission.principal.key
            if identifier not in lawful:
                lawful[identifier] = is_lawful(configuration, identifier, now_ns)
            if not lawful[identifier]:
                self._carrier.apply(entry, entry.machine.revoked(), now)

    def _lose_suspects(self, now: float) -> None:
        suspect = self._platform.pulses.suspect
        for entry in self._in_flight.all():
            if entry.worker and suspect(entry.worker):
                self._carrier.apply(entry, entry.machine.suspected(now, entry.worker), now)

    def _look_slowly(self, now: float) -> None:
        for entry in self._dispatcher.unfit():
            self._carrier.apply(entry, entry.machine.unfit(), now)
        self._unheld.keep(self._platform.pulses.workers())
        self._admission.forget(now)
        self._observer.in_flight.set(len(self._in_flight))
        self._observer.waiting.set(self._dispatcher.waiting)
        self._observer.unacknowledged.set(len(self._carrier.insistence))

    def _cancel_unheld(self, envelope: Envelope, request: str, attempt: int, seat: int) -> None:
        self._carrier.cancel_unheld(request, attempt, envelope.lane, envelope.sender, seat)

    def _dead_letter(self, record: Record, error: Exception) -> None:
        origin = f"{record.topic}/{record.partition}/{record.offset}".encode()
        headers = (*record.headers, ("origin", origin), ("reason", type(error).__name__.encode()))
        self._carrier.insistence.send(Letter("dlq", record.value, headers, record.key))

    def _lost_task(self, name: str, error: BaseException) -> None:
        self._fault = f"{name} failed: {type(error).__name__}"
