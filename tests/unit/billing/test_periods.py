"""A request counts in the day or month that its organisation's calendar shows."""

from datetime import UTC, datetime

import pytest

from services.billing.periods import Period, TimeZoneUnknown, first_day, period_at
from shared.contracts.freehold.control.v1 import config_pb2 as config


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "instant", "day", "month"),
    [
        ("UTC", "2026-11-30T23:59:59.999", "2026-11-30", "2026-11"),
        ("", "2026-12-01T00:00:00", "2026-12-01", "2026-12"),
        ("Asia/Jakarta", "2026-11-30T17:00:00", "2026-12-01", "2026-12"),
        ("America/New_York", "2026-12-01T04:59:59", "2026-11-30", "2026-11"),
        ("Asia/Kathmandu", "2026-03-31T18:15:00", "2026-04-01", "2026-04"),
        # In the hour that is skipped and in the one that comes twice it stays the same day.
        ("Europe/Berlin", "2026-03-29T01:30:00", "2026-03-29", "2026-03"),
        ("Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25", "2026-10"),
        ("Europe/Berlin", "2026-10-25T01:30:00", "2026-10-25", "2026-10"),
    ],
)
def test_periods_follow_the_time_zone(zone: str, instant: str, day: str, month: str) -> None:
    assert period_at(Period.DAY, zone, at(instant)) == day
    assert period_at(Period.MONTH, zone, at(instant)) == month
    assert period_at(Period.NONE, zone, at(instant)) == ""


def test_the_first_day_of_a_period() -> None:
    assert [first_day(period) for period in ("", "2026-11", "2026-11-23")] == ["", "2026-11-01", "2026-11-23"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "\0"])
def test_an_unknown_zone_is_said_to_be_unknown(zone: str) -> None:
    with pytest.raises(TimeZoneUnknown):
        period_at(Period.DAY, zone, 0)


def test_numbers_are_the_contracts() -> None:
    assert {item.name: int(item) for item in Period} == {
        name.removeprefix("PERIOD_"): int(number) for name, number in config.Period.items() if number
    }
