"""Billing's books, and the events of made-up requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, TypeVar

from sqlalchemy import Connection

from services.billing.books.booking import Booked
from services.billing.books.expiry import expire, expire_earlier
from services.billing.books.reserving import Ask, idempotency, reserve
from services.billing.books.rows import RequestRow, read_requests
from services.billing.books.settling import Batch, CloseEvent, Settled, UsageEvent, settle_batches
from services.billing.terms import Size, terms
from shared.bus.ports import Record
from shared.clock import SystemClock
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.edge.v1.events_pb2 import (
    ACCEPTED_YES,
    Accepted,
    ClosedAttempt,
    ClosedChoice,
    RequestClosed,
)
from shared.contracts.freehold.inference.v1.events_pb2 import ChoiceUsage, UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import TERMINAL_STATE_COMPLETED, TerminalState
from shared.ids import Ids
from shared.storage.sql import select
from tests.unit.billing.books import Books, Memory

T = TypeVar("T")

ORGANISATION, PROJECT, KEY, MODEL = "acme", "acme-web", "acme-web-1", "small"
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW_NS = 1_790_000_000_000_000_000
PROMPT_PRICE, CACHED_PRICE, OUTPUT_PRICE = 150_000, 30_000, 600_000

SIZE = Size(64, 32, 1)

ids = Ids(SystemClock(), random.Random(7))


def configured(*budgets: config.Budget, zone: str = "UTC") -> Configuration:
    """One organisation with a project, a key and a price; other organisations are `rival`."""
    known = Configuration()
    for name in (ORGANISATION, "rival"):
        known.organisations[name] = config.Organisation(id=name, time_zone=zone, currency="EUR")
    known.prices[f"{MODEL}.EUR"] = config.Price(
        model=MODEL,
        currency="EUR",
        version="1",
        prompt=PROMPT_PRICE,
        cached=CACHED_PRICE,
        output=OUTPUT_PRICE,
    )
    for budget in budgets:
        level = config.Level.Name(budget.level).removeprefix("LEVEL_").lower()
        known.budgets[f"{level}.{budget.id}"] = budget
    return known


def budget(
    limit: int,
    level: config.Level = config.LEVEL_ORGANISATION,
    identifier: str = ORGANISATION,
    period: config.Period = config.PERIOD_NONE,
    currency: str = "EUR",
) -> config.Budget:
    return config.Budget(
        level=level,
        id=identifier,
        organisation=ORGANISATION,
        currency=currency,
        limit=limit,
        period=period,
    )


def closed(
    state: TerminalState = TERMINAL_STATE_COMPLETED,
    attempts: Iterable[tuple[int, Accepted, int, int]] = ((1, ACCEPTED_YES, 0, 16),),
) -> RequestClosed:
    """A close of one choice; an attempt is (number, accepted, from index, delivered)."""
    return RequestClosed(
        project=PROJECT,
        key=KEY,
        model=MODEL,
        state=state,
        attempts=[
            ClosedAttempt(
                attempt=number,
                accepted=accepted,
                choices=[ClosedChoice(choice=0, from_index=start, delivered=delivered)],
            )
            for number, accepted, start, delivered in attempts
        ],
    )


def usage(
    attempt: int = 1, prompt: int = 40, cached: int = 8, generated: int = 16, *, diagnostic: bool = False
) -> UsageRecorded:
    return UsageRecorded(
        attempt=attempt,
        model=MODEL,
        prompt=prompt,
        cached=cached,
        choices=[ChoiceUsage(choice=0, generated=generated)],
        diagnostic=diagnostic,
    )


class World:
    """The books and what may happen to them; each call is one transaction."""

    open: ClassVar[Callable[[], Books]] = Memory

    def __init__(self, *budgets: config.Budget, zone: str = "UTC") -> None:
        self.configuration = configured(*budgets, zone=zone)
        self.books = type(self).open()
        self._offsets: dict[tuple[str, int], int] = {}

    def run(self, work: Callable[[Connection], T]) -> T:
        return self.books.run(work)

    def rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        return self.run(lambda connection: [tuple(row) for row in select(connection, statement, parameters)])

    def row(self, request: str) -> RequestRow:
        return self.run(lambda connection: read_requests(connection, [request]))[request]

    def ask(
        self,
        request: str = "",
        *,
        key: str = "",
        body: bytes = b"body",
        size: Size = SIZE,
        organisation: str = ORGANISATION,
        at_ms: int = NOW_NS // 1_000_000,
        ttl_ms: int = 60_000,
        owner: int = 1,
    ) -> Ask:
        scope = (organisation, PROJECT, KEY)
        return Ask(
            request or ids.request(),
            *scope,
            MODEL,
            str(owner),
            idempotency(organisation, PROJECT, key),
            body,
            terms(self.configuration, scope, MODEL, size, at_ms),
            at_ms,
            ttl_ms,
            TRACE,
        )

    def reserve(self, *asks: Ask) -> list[RequestRow]:
        return self.run(lambda connection: reserve(connection, asks))

    def usages(self, request: str, *events: UsageRecorded, organisation: str = ORGANISATION) -> Settled:
        batch = Batch("usage", 0, self._next("usage", len(events)))
        batch.usages = [
            UsageEvent(request, organisation, event, _record("usage", event.SerializeToString()), "EUR", 7000)
            for event in events
        ]
        return self._settle(batch)

    def close(self, request: str, event: RequestClosed, organisation: str = ORGANISATION) -> Settled:
        batch = Batch("closed", 0, self._next("closed", 1))
        record = _record("closed", event.SerializeToString())
        batch.closes = [CloseEvent(request, organisation, "1", event, TRACE, record)]
        return self._settle(batch)

    def sweep(self, horizon_ms: int) -> list[Booked]:
        return self.run(lambda connection: expire(connection, horizon_ms, NOW_NS))

    def reopen(self, incarnation: int) -> list[Booked]:
        return self.run(lambda connection: expire_earlier(connection, incarnation, NOW_NS))

    def forge(self, statement: str, *parameters: object) -> None:
        """Change the books as somebody with the files in hand could."""
        assert self.books.forge(statement, parameters)

    def accounts(self) -> dict[str, int]:
        rows = self.rows("SELECT account, SUM(amount) FROM lines GROUP BY account ORDER BY account")
        return {str(account): int(str(amount)) for account, amount in rows}

    def rewind(self, topic: str, offset: int) -> None:
        """The next events are read again from this offset."""
        self._offsets[topic, 0] = offset

    def _settle(self, batch: Batch) -> Settled:
        return self.run(lambda connection: settle_batches(connection, [batch], NOW_NS))

    def _next(self, topic: str, count: int) -> int:
        self._offsets[topic, 0] = self._offsets.get((topic, 0), 0) + count
        return self._offsets[topic, 0]


def _record(topic: str, value: bytes) -> Record:
    return Record(topic, 0, 0, NOW_NS // 1_000_000, None, value, ())


def facts(settled: Settled) -> Sequence[str]:
    """Requests whose facts a batch publishes."""
    return [item.fact.request for item in settled.booked] + [fact.request for fact in settled.again]
