"""`Running`: what each owner is told once a second of its attempts here; also when that is nothing.

A running attempt is listed in every report. One that has ended stays listed, as ended, until two reports
have said so after the acknowledgement of its `End`: an owner that was told once waits for that `End` and
misses the attempt no more (ADR 0016). So a report grows with what runs and with what ended in the last
seconds, never with tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from services.inference.attempts.attempt import Attempt
from shared.bus.envelope import Envelope
from shared.bus.ports import Acknowledged, BusError, Position, Publisher
from shared.contracts.freehold.inference.v1 import events_pb2 as pb
from shared.host import Host
from shared.ids import pack
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

PERIOD_S = 1.0
KEEP_S = 900.0
"""Since an owner's last record, with nothing of it here: then it is no longer reported to. Longer than any
deadline, so that an owner that was stopped for long learns what became of its attempts."""
TOLD_TWICE = 2

SERVICE = "inference"


class Attempts(Protocol):
    """What runs here."""

    def attempts(self) -> list[Attempt]:
        """Those that have not ended, or whose usage is not durable yet."""


class Lives(Protocol):
    """What is known of owners by their pulses; nothing of one that was never heard of."""

    def owner_gone(self, owner: int) -> bool:
        """Whether it has been silent for long."""

    def owner_alive(self, owner: int) -> bool:
        """Whether it was heard of lately."""


class _Owner:
    __slots__ = ("ended", "flying", "gone", "lane", "last")

    def __init__(self, lane: int, now: float) -> None:
        self.lane = lane
        self.last = now
        self.gone = False
        self.flying = False
        """Whether a report is not acknowledged yet."""
        self.ended: dict[Attempt, int] = {}
        """Attempts whose usage is durable, and in how many acknowledged reports they stood since their `End`
        was."""


class Reports:
    """Knows every owner that has sent anything. A report is made when the one before is acknowledged."""

    def __init__(self, bus: Publisher, host: Host, tasks: Tasks, attempts: Attempts, lives: Lives) -> None:
        self._bus = bus
        self._clock = host.clock
        self._incarnation = host.incarnation
        self._tasks = tasks
        self._attempts = attempts
        self._lives = lives
        self._owners: dict[int, _Owner] = {}
        self._number = 0
        self._seat = 0
        self._consumed: Callable[[], int] = lambda: 0

    def sit(self, seat: int, consumed: Callable[[], int]) -> None:
        """The seat is known; `consumed` = offset on `work` below which every record is handled."""
        self._seat, self._consumed = seat, consumed

    def heard(self, owner: int, lane: int) -> None:
        """A record of this owner was read."""
        known = self._owners.get(owner)
        if known is None:
            self._owners[owner] = _Owner(lane, self._clock.monotonic())
        else:
            known.lane, known.last = lane, self._clock.monotonic()

    def ended(self, attempts: Iterable[Attempt]) -> None:
        """The usage of these is durable; their ends are about to be told."""
        for attempt in attempts:
            owner = self._owners.get(attempt.envelope.owner)
            if owner is not None:
                owner.ended[attempt] = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(PERIOD_S)
            self.tell()

    def tell(self) -> None:
        """Report to every owner that lives, once."""
        now = self._clock.monotonic()
        running: dict[int, list[Attempt]] = {}
        for attempt in self._attempts.attempts():
            running.setdefault(attempt.envelope.owner, []).append(attempt)
        for number, owner in list(self._owners.items()):
            listed = running.get(number, [])
            if not listed and now - owner.last >= KEEP_S:
                del self._owners[number]
            elif self._is_there(number, owner) and not owner.flying:
                self._report(number, owner, listed)

    def _is_there(self, number: int, owner: _Owner) -> bool:
        """Whether there is somebody to tell. Who was gone is again once it is heard of."""
        if self._lives.owner_gone(number):
            owner.gone = True
            owner.ended.clear()
        elif owner.gone and self._lives.owner_alive(number):
            log.warning("owner %016x is back", number)
            owner.gone = False
        return not owner.gone

    def _report(self, number: int, owner: _Owner, running: list[Attempt]) -> None:
        report = pb.Running(seat=self._seat, work_offset=self._consumed())
        for attempt in (*running, *owner.ended):
            _list(report, attempt)
        told = [attempt for attempt in owner.ended if attempt.told]
        self._number += 1
        envelope = Envelope(
            "Running",
            f"{self._incarnation:016x}/running/{self._number}",
            self._incarnation,
            owner=number,
            lane=owner.lane,
            to=number,
        )
        try:
            sent = self._bus.publish(
                "replies", report.SerializeToString(), envelope.headers(), partition=owner.lane
            )
        except BusError as error:
            log.warning("report for owner %016x not sent: %s", number, error)
            return
        if isinstance(sent, Acknowledged):
            _count(owner, told)
        else:
            owner.flying = True
            self._tasks.spawn(self._acknowledged(owner, told, sent), "report")

    async def _acknowledged(self, owner: _Owner, told: list[Attempt], sent: Awaitable[Position]) -> None:
        try:
            await sent
        except BusError as error:
            log.warning("report not acknowledged: %s", error)
        else:
            _count(owner, told)
        finally:
            owner.flying = False


def _list(report: pb.Running, attempt: Attempt) -> None:
    octets, number = pack(attempt.envelope.request), attempt.envelope.attempt
    for stream in attempt.streams:
        report.attempts.add(
            request=octets,
            attempt=number,
            choice=stream.choice,
            produced=stream.next_index - stream.first_index,
            ended=stream.finish is not None,
        )


def _count(owner: _Owner, told: list[Attempt]) -> None:
    """A report that listed these as ended is acknowledged."""
    for attempt in told:
        if attempt in owner.ended:
            owner.ended[attempt] += 1
            if owner.ended[attempt] >= TOLD_TWICE:
                del owner.ended[attempt]
