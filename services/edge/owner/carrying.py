"""Carries out what the states ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from services.edge.owner.admission import Admission
from services.edge.owner.dispatching import Dispatcher
from services.edge.owner.entry import Entry, InFlight
from services.edge.owner.insisting import Insistence, Letter, post
from services.edge.owner.observing import Observer
from services.edge.owner.publishing import Records
from services.edge.owner.redaction import SpanError
from services.edge.owner.seats import Seat
from services.edge.states.effects import (
    Cancel,
    Close,
    Deliver,
    Dispatch,
    Effects,
    Enqueue,
    Finish,
    PublishRedacted,
    PublishRequest,
    PublishReserve,
)
from shared.bus.ports import Bus, BusError, Position
from shared.host import Host

log = logging.getLogger(__name__)


class Carrier:
    """The only place from which requests publish, deliver and end."""

    def __init__(
        self,
        host: Host,
        bus: Bus,
        in_flight: InFlight,
        dispatcher: Dispatcher,
        admission: Admission,
        observer: Observer,
    ) -> None:
        self._clock = host.clock
        self._bus = bus
        self._records = Records(host)
        self._in_flight = in_flight
        self._dispatcher = dispatcher
        self._admission = admission
        self._observer = observer
        self.insistence = Insistence(bus)
        self._carry: dict[type, Callable[[Entry, Any, float], None]] = {
            Deliver: self._deliver,
            PublishRequest: self._publish_request,
            PublishReserve: self._publish_reserve,
            PublishRedacted: self._publish_redacted,
            Enqueue: self._enqueue,
            Dispatch: self._dispatch,
            Cancel: self._cancel,
            Finish: self._finish,
            Close: self._close,
        }

    def begin(self, entry: Entry, now: float) -> None:
        """A request was accepted and counted in."""
        self._in_flight.add(entry)
        self._observer.begin(entry)
        self.apply(entry, entry.machine.begin(), now)

    def apply(self, entry: Entry, effects: Effects, now: float) -> None:
        """Carry out effects in their order."""
        for effect in effects:
            self._carry[type(effect)](entry, effect, now)

    def pump(self, now: float) -> None:
        """Send ready requests to workers with room."""

        def placed(entry: Entry, seat: Seat) -> None:
            self.apply(entry, entry.machine.seated(now, seat.incarnation, seat.number), now)

        self._dispatcher.pump(now, placed)

    def cancel_unheld(self, request: str, attempt: int, lane: int, worker: int, seat: int) -> None:
        """End an attempt that a worker runs for nobody."""
        self.insistence.send(self._records.cancel_unheld(request, attempt, lane, worker, seat))

    def _deliver(self, entry: Entry, effect: Deliver, now: float) -> None:
        piece = effect.piece
        entry.answer.put(piece)  # takes it: the machine was told how much room there is
        entry.keep(piece.choice, piece.text)
        entry.last_at = now
        if not entry.first_at:
            self._observer.first_text(entry, now)

    def _publish_request(self, entry: Entry, _: PublishRequest, now: float) -> None:
        self._post_first(entry, self._records.accepted(entry), now)

    def _publish_reserve(self, entry: Entry, _: PublishReserve, now: float) -> None:
        if not entry.machine.terminal:
            self._post_first(entry, self._records.reserve(entry), now)

    def _post_first(self, entry: Entry, letter: Letter, now: float) -> None:
        def acknowledged(_: Position) -> None:
            # Both first records are under way together: the longer wait counts.
            entry.published_s = max(entry.published_s, self._clock.monotonic() - now)
            self.apply(entry, entry.machine.acknowledged(), now)

        post(self._bus, letter, acknowledged, lambda error: self._not_acknowledged(entry, error))

    def _publish_redacted(self, entry: Entry, effect: PublishRedacted, now: float) -> None:
        try:
            letter = self._records.redacted(entry, effect.revision)
        except SpanError as error:
            log.error("request %s cannot be redacted: %s", entry.request, error)
            self.apply(entry, entry.machine.unredactable(), now)
            return
        post(self._bus, letter, lambda _: None, lambda error: self._not_acknowledged(entry, error))

    def _not_acknowledged(self, entry: Entry, error: BusError) -> None:
        log.warning("request %s could not be handed on: %s", entry.request, error)
        self.apply(entry, entry.machine.not_acknowledged(), self._clock.monotonic())

    def _enqueue(self, entry: Entry, effect: Enqueue, now: float) -> None:
        self._dispatcher.enqueue(entry, now, first=effect.first)

    def _dispatch(self, entry: Entry, effect: Dispatch, now: float) -> None:
        number = effect.attempt
        self._observer.dispatched(entry, now)

        def acknowledged(position: Position) -> None:
            entry.published_s += self._clock.monotonic() - now
            self.apply(entry, entry.machine.work_acknowledged(number, position.offset), now)

        def failed(error: BusError) -> None:
            log.warning("attempt %d of %s could not be sent: %s", number, entry.request, error)
            later = self._clock.monotonic()
            self.apply(entry, entry.machine.work_not_acknowledged(later, number), later)

        post(self._bus, self._records.work(entry), acknowledged, failed)

    def _cancel(self, entry: Entry, effect: Cancel, _: float) -> None:
        self._dispatcher.release(entry)
        self.insistence.send(self._records.cancel(entry, effect.attempt))

    def _finish(self, entry: Entry, effect: Finish, _: float) -> None:
        self._dispatcher.release(entry)
        entry.answer.finish(effect.outcome)

    def _close(self, entry: Entry, _: Close, now: float) -> None:
        self._dispatcher.forget(entry, now)
        self._in_flight.remove(entry)
        self._admission.leave(entry.asking, now - entry.accepted_at, now)
        self._observer.closed(entry)
        self.insistence.send(self._records.closed(entry))
