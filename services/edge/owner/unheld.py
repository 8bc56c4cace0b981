"""Attempts that workers run and nobody here holds: which of them are cancelled again, and when. Pure."""

from __future__ import annotations

from collections.abc import Collection

Key = tuple[bytes, int]
"""Request (16 bytes) and attempt."""


class Unheld:
    """Counts the reports in a row that list such an attempt.

    The first may have crossed the cancel that was sent at its end; from the second on, at every doubling of
    the count, it is cancelled again: a worker that cannot read its cancels is not buried under them.
    """

    def __init__(self) -> None:
        self._counts: dict[int, dict[Key, int]] = {}

    def reported(self, worker: int, listed: Collection[Key]) -> list[Key]:
        """What to cancel again, of all that this worker's newest report lists and nobody holds."""
        before = self._counts.pop(worker, {})
        if not listed:
            return []
        counts = self._counts[worker] = {key: before.get(key, 0) + 1 for key in listed}
        return [key for key, count in counts.items() if count > 1 and count & (count - 1) == 0]

    def keep(self, alive: Collection[int]) -> None:
        """Forget every worker that is not among these."""
        self._counts = {worker: counts for worker, counts in self._counts.items() if worker in alive}
