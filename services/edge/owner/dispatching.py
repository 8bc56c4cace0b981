"""Who goes to which worker, and when: a fair queue for each model over the live workers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from services.edge.owner.admission import Delay
from services.edge.owner.entry import Entry
from services.edge.owner.line import Line
from services.edge.owner.ready_queue import Ask
from services.edge.owner.seats import Need, Seat, Seats, prefix_key
from shared.contracts.freehold.control.v1.config_pb2 import Model
from shared.pulses import Pulses, Seen

WORKER = "inference"
PATIENCE_S = 5.0
"""How long smaller requests may overtake one that needs more than is free; then a worker's room is kept."""

QUIET_AFTER = 2
"""Own pulses read back since a worker's last: one of its own is missing."""

Placed = Callable[[Entry, Seat], None]


class Dispatcher:
    """Holds ready requests until a worker has room. Reads pulses, sends nothing itself.

    A request is known here from its acceptance (`expect`) to its end (`forget`).
    """

    def __init__(self, pulses: Pulses, most_seats: int) -> None:
        """`most_seats` = partitions of `work`: a worker that names another seat cannot be reached."""
        self._pulses = pulses
        self._most_seats = most_seats
        self._seats = Seats()
        self._lines: dict[tuple[str, str], Line[Entry]] = {}

    def hear(self, seen: Seen) -> None:
        """A service pulsed."""
        load = seen.load
        if seen.service == WORKER and seen.ready and load is not None and load.seat < self._most_seats:
            self._seats.hear(seen.incarnation, load)
        workers, now = self._pulses.workers(), self._pulses.own_read
        quiet = [number for number, heard in workers.items() if now - heard.at_own >= QUIET_AFTER]
        self._seats.keep(workers, quiet)

    def serving(self, model: Model) -> bool:
        """Whether any live worker has the model."""
        return self._seats.serving(model.name, model.weights_digest)

    def look(self, now: float) -> None:
        """Note which models with waiting requests have a live worker."""
        for model, line in self._lines.items():
            if line.queue and self._seats.serving(*model):
                line.seat_seen = now

    def seat_seen(self, entry: Entry) -> float:
        """When a live worker for the request's model was last noted, monotonic seconds; 0 = never."""
        return self._line(entry).seat_seen

    def delay(self, model: Model, ask: Ask) -> Delay:
        """What a request that came now would wait for a worker, and that it would then keep it."""
        line = self._lines.get((model.name, model.weights_digest))
        if line is None:
            return Delay()
        return line.delay(line.foreseen(ask), *self._seats.free(model.name, model.weights_digest))

    def expect(self, entry: Entry, ask: Ask) -> None:
        """The request was accepted, and may cost so much as far as is known before it is encoded."""
        line = self._line(entry)
        entry.ask = line.foreseen(ask)
        entry.expected = True
        line.queue.expect(entry.ask)

    def enqueue(self, entry: Entry, now: float, *, first: bool) -> None:
        """The request is ready; `first` = it has lost the worker that it had."""
        entry.ready_at = now
        entry.need = self._need(entry)
        self._arrived(entry)
        line = self._line(entry)
        if first:
            line.queue.resume(entry, entry.ask.tokens)
            return
        line.encoded(entry.asking.tokens, entry.machine.cells)
        entry.ask = entry.ask._replace(tokens=max(1, entry.machine.cells))
        line.queue.push(entry, entry.ask, now)

    def forget(self, entry: Entry, now: float) -> None:
        """The request ended; it may still be prepared, wait, or hold a slot."""
        self._arrived(entry)
        line = self._line(entry)
        line.queue.discard(entry)
        self._seats.unclaim(entry)
        self.release(entry)
        if entry.seated_at:
            line.ended(entry.ask, _used(entry), now - entry.seated_at, now)

    def release(self, entry: Entry) -> None:
        """Its attempt ended."""
        if entry.worker and entry.need is not None:
            self._seats.give_back(entry.worker, entry.need)
            self._line(entry).left(entry.ask)
        entry.worker = 0

    def rejected(self, worker: int) -> None:
        """A worker had no room after all."""
        self._seats.reject(worker)

    def unfit(self) -> list[Entry]:
        """Waiting requests that no live worker's whole pool holds."""
        return [entry for line in self._lines.values() for entry in line.queue if self._never_fits(entry)]

    def pump(self, now: float, placed: Placed) -> None:
        """Place as many as have room; `placed` is called for each."""
        fits = partial(self._fits, now=now)
        for line in self._lines.values():
            while line.queue and self._seats.any_room and (entry := line.queue.pop(fits)) is not None:
                need, seat = entry.need, self._choice
                if need is not None and seat is not None:
                    self._seats.take(seat, need)
                    self._seats.unclaim(entry)
                    entry.worker = seat.incarnation
                    entry.seated_at = now
                    line.seated(entry.ask)
                    placed(entry, seat)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(len(line.queue) for line in self._lines.values())

    _choice: Seat | None = None
    """For the request that was last asked about; None = no room."""

    def _fits(self, entry: Entry, now: float) -> bool:
        need = entry.need
        self._choice = None if need is None else self._seats.choose(need, entry)
        if self._choice is None and need is not None and now - entry.ready_at >= PATIENCE_S:
            self._seats.claim(need, entry)
        return self._choice is not None

    def _never_fits(self, entry: Entry) -> bool:
        most = self._seats.most_cells(entry.need) if entry.need is not None else 0
        return 0 < most < entry.machine.cells

    def _arrived(self, entry: Entry) -> None:
        if entry.expected:
            entry.expected = False
            self._line(entry).queue.arrived(entry.ask)

    def _line(self, entry: Entry) -> Line[Entry]:
        model = (entry.model.name, entry.machine.terms.weights_digest)
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = Line()
        return line

    def _need(self, entry: Entry) -> Need:
        machine = entry.machine
        encoded = machine.preparation.encoded
        ids = encoded.ids if encoded else ()
        return Need(
            model=entry.model.name,
            weights_digest=machine.terms.weights_digest,
            tokenizer_digest=encoded.tokenizer_digest if encoded else "",
            slots=sum(not choice.ended for choice in machine.choices),
            cells=machine.cells,
            prefix=prefix_key(entry.salt, ids) if len(self._seats) > 1 else b"",
        )


def _used(entry: Entry) -> int:
    """Tokens that a request has cost: its prompt, and what was made of it as far as is known here."""
    encoded = entry.machine.preparation.encoded
    return (encoded.count if encoded else 0) + sum(len(choice.ids) for choice in entry.machine.choices)
