"""Who goes to which worker, and when: a fair queue for each model over the live workers."""

from __future__ import annotations

from collections.abc import Callable

from services.edge.owner.entry import Entry
from services.edge.owner.ready_queue import ReadyQueue
from services.edge.owner.seats import Need, Seat, Seats, prefix_key
from shared.contracts.freehold.control.v1.config_pb2 import Model
from shared.pulses import Pulses, Seen

WORKER = "inference"

Placed = Callable[[Entry, Seat], None]


class Dispatcher:
    """Holds ready requests until a worker has room. Reads pulses, sends nothing itself."""

    def __init__(self, pulses: Pulses, most_seats: int) -> None:
        """`most_seats` = partitions of `work`: a worker that names another seat cannot be reached."""
        self._pulses = pulses
        self._most_seats = most_seats
        self._seats = Seats()
        self._queues: dict[tuple[str, str], ReadyQueue[Entry]] = {}
        self._seen: dict[tuple[str, str], float] = {}

    def hear(self, seen: Seen) -> None:
        """A service pulsed."""
        load = seen.load
        if seen.service == WORKER and seen.ready and load is not None and load.seat < self._most_seats:
            self._seats.hear(seen.incarnation, load)
        self._seats.keep(self._pulses.workers())

    def serving(self, model: Model) -> bool:
        """Whether any live worker has the model."""
        return self._seats.serving(model.name, model.weights_digest)

    def look(self, now: float) -> None:
        """Note which models with waiting requests have a live worker."""
        for model, queue in self._queues.items():
            if queue and self._seats.serving(*model):
                self._seen[model] = now

    def seat_seen(self, entry: Entry) -> float:
        """When a live worker for the request's model was last noted, monotonic seconds; 0 = never."""
        return self._seen.get(_model_of(entry), 0.0)

    def enqueue(self, entry: Entry, now: float, *, first: bool) -> None:
        """The request is ready."""
        entry.ready_at = now
        entry.need = self._need(entry)
        queue = self._queues.setdefault(_model_of(entry), ReadyQueue())
        queue.push(entry.submission.principal.organisation, entry, now, first=first)

    def forget(self, entry: Entry) -> None:
        """The request ended; it may still wait, or hold a slot."""
        if queue := self._queues.get(_model_of(entry)):
            queue.discard(entry.submission.principal.organisation, entry)
        self.release(entry)

    def release(self, entry: Entry) -> None:
        """Its attempt ended."""
        if entry.worker and entry.need is not None:
            self._seats.give_back(entry.worker, entry.need)
        entry.worker = 0

    def rejected(self, worker: int) -> None:
        """A worker had no room after all."""
        self._seats.reject(worker)

    def unfit(self) -> list[Entry]:
        """Waiting requests that no live worker's whole pool holds."""
        return [entry for queue in self._queues.values() for entry in queue if self._never_fits(entry)]

    def pump(self, now: float, placed: Placed) -> None:
        """Place as many as have room; `placed` is called for each."""
        for queue in self._queues.values():
            while queue and (entry := queue.pop(self._fits, now)) is not None:
                need, seat = entry.need, self._choice
                if need is not None and seat is not None:
                    self._seats.take(seat, need)
                    entry.worker = seat.incarnation
                    placed(entry, seat)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(map(len, self._queues.values()))

    _choice: Seat | None = None
    """For the request that was last asked about; None = no room."""

    def _fits(self, entry: Entry) -> bool:
        self._choice = None if entry.need is None else self._seats.choose(entry.need)
        return self._choice is not None

    def _never_fits(self, entry: Entry) -> bool:
        most = self._seats.most_cells(entry.need) if entry.need is not None else 0
        return 0 < most < entry.machine.cells

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


def _model_of(entry: Entry) -> tuple[str, str]:
    return entry.model.name, entry.machine.terms.weights_digest
