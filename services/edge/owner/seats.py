"""Which worker gets a request. Pure: pulses, dispatches and ends come in, a choice goes out."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from shared.contracts.freehold.platform.v1.pulse_pb2 import WorkerLoad

AFFINITY_IDS = 32
"""Ids of a prompt that must be equal for a worker to be preferred: about a short system prompt."""
AFFINITIES = 4096
"""Prefixes whose last worker is remembered."""


class Need(NamedTuple):
    """What a request needs of a worker."""

    model: str
    weights_digest: str
    tokenizer_digest: str
    slots: int
    """Choices that run at once."""
    cells: int
    """Most that they may fill, the prompt included."""
    prefix: bytes
    """See `prefix_key`; empty where there is one worker only."""


class Seat:
    """One live worker, and how much of it is free as far as this owner knows."""

    __slots__ = (
        "cells",
        "claimant",
        "free_cells",
        "free_slots",
        "incarnation",
        "my_cells",
        "my_slots",
        "number",
        "quiet",
        "rejecting",
        "served",
        "slots",
    )

    def __init__(self, incarnation: int, load: WorkerLoad) -> None:
        self.incarnation = incarnation
        self.my_slots = 0
        self.my_cells = 0
        """What this owner's running attempts hold. Its dispatches may cross a pulse that was taken before
        they came, so this bounds what is free beside the pulse."""
        self.quiet = False
        """Whether a pulse of it is missing: it may be dead, so others are preferred."""
        self.claimant: object = None
        """For whom alone its room is kept; None = nobody."""
        self.hear(load)

    def hear(self, load: WorkerLoad) -> None:
        """A pulse: what it says replaces what was counted since the one before."""
        self.number = load.seat
        self.slots = load.slots
        self.cells = load.cells
        self.free_slots = load.free_slots
        self.free_cells = load.free_cells
        self.rejecting = False
        self.quiet = False
        self.served = {(model.name, model.weights_digest, model.tokenizer_digest) for model in load.models}

    @property
    def room(self) -> int:
        """Slots that are free."""
        return min(self.free_slots, self.slots - self.my_slots)

    @property
    def room_cells(self) -> int:
        """Cells that are free."""
        return min(self.free_cells, self.cells - self.my_cells)

    def serves(self, need: Need) -> bool:
        """Whether the model is loaded here, with these digests."""
        return (need.model, need.weights_digest, need.tokenizer_digest) in self.served

    def fits(self, need: Need) -> bool:
        """Whether the request can begin now."""
        slots = min(need.slots, self.slots) or 1
        return not self.rejecting and self.room >= slots and self.room_cells >= need.cells


class Seats:
    """All live workers."""

    def __init__(self) -> None:
        self._seats: dict[int, Seat] = {}
        self._last: OrderedDict[bytes, int] = OrderedDict()

    def hear(self, incarnation: int, load: WorkerLoad) -> None:
        """A ready worker pulsed."""
        seat = self._seats.get(incarnation)
        if seat is None:
            self._seats[incarnation] = Seat(incarnation, load)
        else:
            seat.hear(load)

    def __len__(self) -> int:
        return len(self._seats)

    def keep(self, alive: Collection[int], quiet: Collection[int] = ()) -> None:
        """Forget every worker that is not alive, and send to quiet ones only what no other takes."""
        for incarnation in [number for number in self._seats if number not in alive]:
            del self._seats[incarnation]
        for incarnation in quiet:
            if seat := self._seats.get(incarnation):
                seat.quiet = True

    def serving(self, model: str, weights_digest: str) -> bool:
        """Whether any live worker has this model."""
        return any(
            served[0] == model and served[1] == weights_digest
            for seat in self._seats.values()
            for served in seat.served
        )

    def free(self, model: str, weights_digest: str) -> tuple[int, int]:
        """Slots and cells that are free on all live workers of a model."""
        slots = cells = 0
        for seat in self._seats.values():
            if any(served[:2] == (model, weights_digest) for served in seat.served):
                slots += max(0, seat.room)
                cells += max(0, seat.room_cells)
        return slots, cells

    @property
    def any_room(self) -> bool:
        """Whether any worker could take any request at all."""
        return any(seat.room > 0 and not seat.rejecting for seat in self._seats.values())

    def most_cells(self, need: Need) -> int:
        """Cells of the largest pool that serves the need; 0 where none does."""
        return max((seat.cells for seat in self._seats.values() if seat.serves(need)), default=0)

    def choose(self, need: Need, who: object = None) -> Seat | None:
        """A worker with room, best one that is not quiet: the one that had the same prefix last, else the one
        with most free slots.
        """
        with_room = [
            seat
            for seat in self._seats.values()
            if seat.claimant in (None, who) and seat.serves(need) and seat.fits(need)
        ]
        if len(with_room) < 2:
            return with_room[0] if with_room else None
        last = self._last.get(need.prefix)
        return max(
            with_room,
            key=lambda seat: (not seat.quiet, seat.incarnation == last, seat.room, seat.free_cells),
        )

    def claim(self, need: Need, who: object) -> None:
        """Keep the room of one worker for a request that small ones have overtaken for too long: what ends
        there is not given to others until it fits. One claim at a time, so that the rest goes on.
        """
        able = [seat for seat in self._seats.values() if seat.serves(need) and seat.cells >= need.cells]
        if able and all(seat.claimant is None for seat in able):
            max(able, key=lambda seat: (seat.free_cells, seat.room)).claimant = who

    def unclaim(self, who: object) -> None:
        """The request has its worker, or has ended."""
        for seat in self._seats.values():
            if seat.claimant is who:
                seat.claimant = None

    def take(self, seat: Seat, need: Need) -> None:
        """A request was dispatched there."""
        seat.free_slots -= need.slots
        seat.free_cells -= need.cells
        seat.my_slots += need.slots
        seat.my_cells += need.cells
        if need.prefix:
            self._last[need.prefix] = seat.incarnation
            self._last.move_to_end(need.prefix)
            if len(self._last) > AFFINITIES:
                self._last.popitem(last=False)

    def give_back(self, incarnation: int, need: Need) -> None:
        """An attempt ended there."""
        seat = self._seats.get(incarnation)
        if seat is None:
            return
        seat.free_slots = min(seat.slots, seat.free_slots + need.slots)
        seat.free_cells = min(seat.cells, seat.free_cells + need.cells)
        seat.my_slots = max(0, seat.my_slots - need.slots)
        seat.my_cells = max(0, seat.my_cells - need.cells)

    def reject(self, incarnation: int) -> None:
        """The worker had no room after all: none until its next pulse."""
        seat = self._seats.get(incarnation)
        if seat is not None:
            seat.rejecting = True


def prefix_key(salt: bytes, ids: Sequence[int]) -> bytes:
    """Names the beginning of a prompt within one tenant's project."""
    digest = hashlib.blake2b(salt, digest_size=8)
    digest.update(str(list(ids[:AFFINITY_IDS])).encode())
    return digest.digest()
