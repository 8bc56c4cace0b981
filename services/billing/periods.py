"""Periods of budgets, counted in the organisation's own time zone. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from zoneinfo import ZoneInfo


class Period(IntEnum):
    """How often a budget begins anew; the numbers are the contract's."""

    NONE = 1
    DAY = 2
    MONTH = 3


class TimeZoneUnknown(ValueError):
    """Not a name of the IANA time zone database."""


def period_at(kind: int, zone: str, at_ms: int) -> str:
    """The period that holds an instant, in ISO 8601: `2026-11-23`, `2026-11`, or empty for no period.

    `zone` is an IANA name, empty = UTC; `at_ms` is milliseconds since the Unix epoch. Raises
    `TimeZoneUnknown`.
    """
    if kind not in (Period.DAY, Period.MONTH):
        return ""
    try:
        local = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone or "UTC"))
    except (KeyError, ValueError, OSError) as error:
        # ZoneInfo raises ValueError or OSError for names that are paths or folders.
        raise TimeZoneUnknown(f"unknown time zone {zone!r}") from error
    day = local.date().isoformat()
    return day if kind == Period.DAY else day[:7]


def first_day(period: str) -> str:
    """The first day of a period, ISO 8601; empty for no period."""
    return f"{period}-01" if len(period) == 7 else period
