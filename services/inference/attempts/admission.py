"""Whether a worker takes an attempt: its slots and, for the worst case, its cells (pure).

What is taken holds its worst case until its last choice has ended, so that a sequence that runs never
waits for cells. Sharing is not counted on.
"""

from enum import Enum


class Refusal(Enum):
    """Why an attempt does not fit now."""

    FULL = "full"
    CELLS = "cells"


class Admission:
    """Accounts of one engine. A choice takes one slot; what exceeds the slots waits in the queue."""

    __slots__ = ("cells", "queue", "reserved", "slots", "taken")

    def __init__(self, slots: int, queue: int, cells: int) -> None:
        self.slots = slots
        self.queue = queue
        self.cells = cells
        self.taken = 0
        """Choices that were taken and have not ended."""
        self.reserved = 0
        """Cells that they may need."""

    @property
    def free_slots(self) -> int:
        """Choices that would begin at once."""
        return max(0, self.slots - self.taken)

    @property
    def queued(self) -> int:
        """Choices that wait for a slot."""
        return max(0, self.taken - self.slots)

    @property
    def free_cells(self) -> int:
        """Cells that nothing taken may need."""
        return self.cells - self.reserved

    def take(self, choices: int, cells: int) -> Refusal | None:
        """Take an attempt of so many choices and cells in all, or say why not."""
        if self.taken + choices > self.slots + self.queue:
            return Refusal.FULL
        if cells > self.free_cells:
            return Refusal.CELLS
        self.taken += choices
        self.reserved += cells
        return None

    def give_back(self, choices: int, cells: int) -> None:
        """The attempt has ended."""
        self.taken -= choices
        self.reserved -= cells
