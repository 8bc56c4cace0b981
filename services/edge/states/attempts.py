"""One dispatch of a request: to whom, from which index, and what its worker says of it."""

from __future__ import annotations

from collections.abc import Iterable

from services.edge.states.chain import Choice
from shared.contracts.freehold.edge.v1.events_pb2 import (
    ACCEPTED_UNKNOWN,
    Accepted,
)
from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest, Format

MOST_LOST = 4
"""The fourth lost attempt fails the request; so does the fourth broken stream."""
MISSING_REPORTS = 2
"""Reports in a row that do not list an attempt: it is lost."""
AHEAD_IDS = 256
"""Ids that a worker may be ahead of vetted text, beside moderation's window, before text is overdue."""

_REBUILT = frozenset((Format.TYPE_UNSPECIFIED, Format.TYPE_TEXT))


def resumable(request: CompletionRequest) -> bool:
    """Whether another worker with the same weights and tokenizer can go on from a prefix.

    Sampling draws from (seed, index) and penalties count the prefix's ids, so plain text can always be
    continued; the state of a grammar cannot be rebuilt by today's engines.
    """
    return request.format.type in _REBUILT


class Attempt:
    """The k-th dispatch. Higher fences lower."""

    __slots__ = (
        "accepted",
        "ended_since",
        "from_index",
        "missing",
        "number",
        "offset",
        "produced",
        "seat",
        "sent_at",
        "worker",
    )

    def __init__(self, number: int, worker: int, seat: int, now: float, choices: Iterable[Choice]) -> None:
        self.number = number
        self.worker = worker
        """Incarnation that the work was sent to."""
        self.seat = seat
        self.sent_at = now
        self.offset: int | None = None
        """Of the work on its topic; None until acknowledged."""
        self.accepted: Accepted = ACCEPTED_UNKNOWN
        self.from_index = {choice.number: len(choice.ids) for choice in choices if not choice.ended}
        self.missing = 0
        self.produced: dict[int, int] = {}
        """Ids of each choice that its worker says it has made."""
        self.ended_since: dict[int, float] = {}
        """When its worker first said that a choice had ended."""

    def report(
        self, now: float, worker: int, offset: int, listed: dict[int, tuple[int, bool]] | None
    ) -> bool:
        """Take a worker's report in: what it lists of this attempt by choice, or None where it lists nothing.

        True = it counts: it is from the worker that has the work, at or past the work's own offset.
        """
        if worker != self.worker or self.offset is None or offset < self.offset:
            return False
        if listed is None:
            self.missing += 1
            return True
        self.missing = 0
        for number, (produced, ended) in listed.items():
            self.produced[number] = produced
            if ended:
                self.ended_since.setdefault(number, now)
        return True

    def unvetted_end(self, now: float, choice: Choice, patience: float) -> bool:
        """Whether the worker has said for that long that the choice ended, and no `End` was vetted."""
        since = self.ended_since.get(choice.number)
        return since is not None and not choice.ended and now - since >= patience

    def overdue(self, choice: Choice, window: int) -> bool:
        """Whether the worker is further ahead of the vetted text than moderation may hold back."""
        produced = self.produced.get(choice.number)
        start = self.from_index.get(choice.number)
        if produced is None or start is None or choice.ended:
            return False
        return start + produced - len(choice.ids) > window + AHEAD_IDS
