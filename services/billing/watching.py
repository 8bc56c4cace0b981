"""Looks at the books now and then, for an operator: what is open, which budgets near their end, and
whether what was booked since the last look is in balance. Nothing on a request's path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from heapq import nlargest
from typing import Final

from services.billing.books import sight
from services.billing.periods import TimeZoneUnknown
from services.billing.terms import LEVELS, Claim, claim
from shared.clock import Clock
from shared.configuration import Configuration
from shared.storage.database import Database, DatabaseError
from shared.telemetry import Telemetry

log = logging.getLogger(__name__)

NANOS: Final = 1e-9
NEAR: Final = 0.8
"""Used share from which a budget is shown by name."""
SHOWN: Final = 20
"""Budgets that are shown by name at most: those nearest to their end."""
TURNS: Final = 4
"""Checks in one look, so that they keep up with 1,000 settlements a second and more."""


class Watch:
    """Its figures are those of the last look; a scrape asks no database."""

    def __init__(
        self,
        database: Database,
        configuration: Configuration,
        clock: Clock,
        telemetry: Telemetry,
        period_s: float,
    ) -> None:
        self._database = database
        self._configuration = configuration
        self._clock = clock
        self._period_s = period_s
        self._books = sight.Books({}, 0, 0, 0)
        self._near: Mapping[tuple[str, ...], float] = {}
        self._counts = dict.fromkeys(LEVELS, 0)
        self._upto: int | None = None
        self._unchecked = 0
        self._looked = clock.monotonic()
        self._odd = telemetry.metrics("billing").counter(
            "unbalanced_entries", "Entries whose debits differ from their credits: what must be 0."
        )
        self._tell(telemetry)

    def _tell(self, telemetry: Telemetry) -> None:
        metrics = telemetry.metrics("billing")
        metrics.read_each(
            "reservations_open",
            "Requests that hold a reservation.",
            ("currency",),
            lambda: {(currency,): found.requests for currency, found in self._books.open.items()},
        )
        metrics.read_each(
            "reserved_money",
            "Currency units that they hold.",
            ("currency",),
            lambda: {(currency,): found.amount * NANOS for currency, found in self._books.open.items()},
        )
        metrics.read("awaiting_usage", "Closed requests without usage.", lambda: self._books.awaiting_usage)
        metrics.read("parked_rows", "Parked records that nobody has dealt with.", lambda: self._books.parked)
        metrics.read("outbox_rows", "Facts that wait to be published.", lambda: self._books.outbox)
        metrics.read_each(
            "budget_used_ratio",
            "Used share of the budgets nearest to their end, reservations included.",
            ("level", "id"),
            lambda: self._near,
        )
        metrics.read_each(
            "budgets_near_end",
            "Budgets of which four fifths are used.",
            ("level",),
            lambda: {(level,): count for level, count in self._counts.items()},
        )
        metrics.read("unchecked_entries", "Entries not yet added up again.", lambda: self._unchecked)
        metrics.read(
            "books_age_seconds",
            "Since the last look at the books.",
            lambda: self._clock.monotonic() - self._looked,
        )

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.turn()
            except DatabaseError as error:
                log.warning("the books cannot be looked at: %s", error)
            await self._clock.sleep(self._period_s)

    async def turn(self) -> None:
        """Look once. Raises `DatabaseError`."""
        self._books = await self._database.read(sight.look)
        claims = self._claims()
        self._compare(claims, await self._database.read(partial(sight.used, claims=claims)))
        await self._check()
        self._looked = self._clock.monotonic()

    def _claims(self) -> list[Claim]:
        """Every budget in its current period."""
        now_ms = self._clock.time_ns() // 1_000_000
        found = []
        for budget in list(self._configuration.budgets.values()):
            organisation = self._configuration.organisations.get(budget.organisation)
            if organisation is None or not 1 <= budget.level <= len(LEVELS):
                continue
            try:
                one = claim(self._configuration, budget.level, budget.id, organisation.time_zone, now_ms)
            except TimeZoneUnknown:
                continue  # nothing is reserved under it either
            if one is not None:
                found.append(one)
        return found

    def _compare(self, claims: list[Claim], used: Mapping[str, int]) -> None:
        shares = {
            (LEVELS[one.level - 1], one.id): _share(used.get(one.budget, 0), one.limit) for one in claims
        }
        near = {name: share for name, share in shares.items() if share >= NEAR}
        self._near = dict(nlargest(SHOWN, near.items(), key=lambda item: item[1]))
        self._counts = {level: sum(name[0] == level for name in near) for level in LEVELS}

    async def _check(self) -> None:
        """Add up what was booked since the last look; at first only the newest entries. `freehold ledger
        verify` checks all.
        """
        if self._upto is None:
            self._upto = max(0, await self._database.read(sight.newest) - sight.MOST_ENTRIES)
        for _ in range(TURNS):
            now_ns = self._clock.time_ns()
            found = await self._database.read(partial(sight.balance, after=self._upto, now_ns=now_ns))
            stuck = found.upto == self._upto
            self._upto, self._unchecked = found.upto, found.left
            if found.odd:
                self._odd.inc(found.odd)
                log.error("%d ledger entries up to %d are out of balance", found.odd, found.upto)
            if not found.left or stuck:
                return


def _share(used: int, limit: int) -> float:
    return used / limit if limit else 1.0
