"""When missing facts are asked for, how many, and how often."""

from __future__ import annotations

from services.audit.mender import Mender, RepublishFailed
from services.audit.repository import GapOf
from services.audit.stream import Gap


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Gaps:
    """The part of the log that the mender reads."""

    def __init__(self) -> None:
        self.known: list[GapOf] = []

    async def gaps(self, before_ns: int, limit: int) -> list[GapOf]:
        return [found for found in self.known if found.gap.since_ns <= before_ns][:limit]


class Writer:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.fails = False

    async def republish(self, stream: str, first: int, last: int) -> None:
        self.asked.append((stream, first, last))
        if self.fails:
            raise RepublishFailed("away")


def made() -> tuple[Mender, Gaps, Writer, Time]:
    gaps, writer, time = Gaps(), Writer(), Time()
    mender = Mender(gaps, writer, time, age_s=60, period_s=10)
    return mender, gaps, writer, time


async def test_a_young_gap_is_left_to_close_by_itself() -> None:
    mender, gaps, writer, time = made()
    gaps.known = [GapOf("control", Gap(3, 5, time.time_ns()))]
    await mender.turn()
    time.now += 59
    await mender.turn()
    assert writer.asked == []
    time.now += 1
    await mender.turn()
    assert writer.asked == [("control", 3, 5)]


async def test_the_same_gap_is_asked_for_once_a_minute() -> None:
    mender, gaps, writer, time = made()
    writer.fails = True
    gaps.known = [GapOf("billing/org", Gap(1, 1, 0)), GapOf("billing/other", Gap(1, 1, 0))]
    for _ in range(13):
        await mender.turn()
        time.now += 10
    assert writer.asked == [("billing/org", 1, 1), ("billing/other", 1, 1)] * 3


async def test_a_wide_gap_is_asked_for_in_parts_as_they_arrive() -> None:
    mender, gaps, writer, time = made()
    gaps.known = [GapOf("billing/org", Gap(1, 1200, 0))]
    await mender.turn()
    gaps.known = [GapOf("billing/org", Gap(501, 1200, 0))]
    time.now += 10
    await mender.turn()
    assert writer.asked == [("billing/org", 1, 500), ("billing/org", 501, 1000)]
