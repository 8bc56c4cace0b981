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
LATE_REPORTS = 20
"""Reports of its worker, one a second, that an end or text may be late by. While the bus is down none comes,
and nothing is late."""
AHEAD_IDS = 256
"""Ids that a worker may be ahead of vetted text, beside moderation's window, before text is overdue."""

Listed = dict[int, tuple[int, bool]]
"""What a report lists of one attempt: of each choice the ids made so far, and whether it has ended."""

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
        "ended",
        "from_index",
        "missing",
        "number",
        "offset",
        "seat",
        "sent_at",
        "silent",
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
        """Reports in a row that did not list it."""
        self.ended: dict[int, int] = {}
        """Reports since its worker first said that a choice had ended."""
        self.silent = 0
        """Reports since anything of it was vetted."""

    def report(self, worker: int, offset: int, listed: Listed | None) -> bool:
        """Take a worker's report in: what it lists of this attempt, or None where it lists nothing.

        True = it counts: it is from the worker that has the work, and past the work's own offset. An attempt
        that has ended as a whole is told of twice and then no more: it is not missing.
        """
        if worker != self.worker or self.offset is None or offset <= self.offset:
            return False
        self.silent += 1
        for number in self.ended:
            self.ended[number] += 1
        for number, (_, ended) in (listed or {}).items():
            if ended:
                self.ended.setdefault(number, 0)
        known = listed is not None or self.ended.keys() >= self.from_index.keys()
        self.missing = 0 if known else self.missing + 1
        return True

    def vetted(self) -> None:
        """Something of it was vetted."""
        self.silent = 0

    def end_is_late(self, choice: Choice) -> bool:
        """Whether the worker has said for long that the choice ended, and no `End` was vetted."""
        return not choice.ended and self.ended.get(choice.number, 0) >= LATE_REPORTS

    def text_is_late(self, choice: Choice, window: int, produced: int) -> bool:
        """Whether the worker is further ahead of the vetted text than moderation may hold back, and nothing
        was vetted for long. `produced` = ids of the choice that the report says this attempt has made.
        """
        if choice.ended or self.silent < LATE_REPORTS:
            return False
        return self.from_index.get(choice.number, 0) + produced - len(choice.ids) > window + AHEAD_IDS
