"""The reservation: a batch of requests against up to three budgets each, in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from services.billing import tables
from services.billing.books.rows import (
    INSERT_REQUEST,
    REFUSED,
    RESERVED,
    RequestRow,
    read_beside,
)
from services.billing.terms import LEVELS, Claim, Refusal, Terms
from shared.errors import Kind
from shared.storage.database import Conflict
from shared.storage.sql import Bulk, insertion, keys, locked, query, write

KEY_LIFE_MS: Final = 30 * 24 * 3600 * 1000
"""How long an idempotency key is held."""
GRACE_MS: Final = 120_000
"""Time after a request's ttl in which its close may still come."""


class Ask(NamedTuple):
    """One `ReserveBudget`, its terms resolved."""

    request: str
    organisation: str
    project: str
    key: str
    model: str
    owner: str
    idempotency: str | None
    fingerprint: bytes
    terms: Terms | Refusal
    at_ms: int
    """Broker time of the record."""
    ttl_ms: int
    traceparent: bytes


class Contended(Conflict):
    """Another transaction took the money between the decision and the update: try the batch again."""


def idempotency(organisation: str, project: str, key: str) -> str | None:
    """How a row holds a client's Idempotency-Key; None for an empty one."""
    if not key:
        return None
    return hashlib.sha256(f"{organisation}\0{project}\0{key}".encode()).hexdigest()


def reserve(connection: Connection, asks: Sequence[Ask]) -> list[RequestRow]:
    """The row of each ask: stored now, or found where the request was seen before, whatever it is now.

    Asks are served in order. A request that is refused holds no idempotency key: nothing was begun
    under it. Raises `Contended`.
    """
    keys_held = {ask.idempotency for ask in asks if ask.idempotency}
    known, held = read_beside(connection, {ask.request for ask in asks}, keys_held)
    fresh = [ask for ask in asks if ask.request not in known]
    if fresh:
        holders = _Holders(held)
        purses = Purses(connection, fresh)
        added: list[RequestRow] = []
        for ask in fresh:
            if ask.request not in known:
                row = known[ask.request] = _decide(ask, holders, purses)
                added.append(row)
        purses.store(connection)
        holders.store(connection)
        write(connection, INSERT_REQUEST, added)
    return [known[ask.request] for ask in asks]


def _decide(ask: Ask, holders: _Holders, purses: Purses) -> RequestRow:
    outcome = ask.terms
    if isinstance(outcome, Terms):
        outcome = holders.repeated(ask) or purses.take(outcome) or outcome
    if isinstance(outcome, Refusal):
        return _refused(ask, outcome)
    row = _reserved(ask, outcome)
    holders.hold(row)
    return row


class _Holders:
    """Who holds the idempotency keys of a batch."""

    def __init__(self, rows: dict[str, RequestRow]) -> None:
        self._rows = rows
        self._released: list[tuple[str]] = []

    def repeated(self, ask: Ask) -> Refusal | None:
        """The refusal where another request has the key."""
        holder = self._rows.get(ask.idempotency) if ask.idempotency else None
        if holder is None:
            return None
        if (holder.reserved_ms or 0) + KEY_LIFE_MS < ask.at_ms:
            self._released.append((holder.request,))
            return None
        if holder.fingerprint == ask.fingerprint:
            message = "this idempotency key is in use by an earlier request"
            return Refusal(Kind.REPEATED, message, first_request=holder.request)
        message = "this idempotency key was used with another body"
        return Refusal(Kind.REPEATED_OTHERWISE, message, first_request=holder.request)

    def hold(self, row: RequestRow) -> None:
        """The key is this request's from now on."""
        if row.idempotency:
            self._rows[row.idempotency] = row

    def store(self, connection: Connection) -> None:
        """Let go of keys whose life is over."""
        write(connection, "UPDATE requests SET idempotency = NULL WHERE request = ?", self._released)


class Purses:
    """The budgets of a batch: what each has left, and what the batch takes.

    Decided in memory over locked rows, guarded by the database: each changes by one conditional update.
    """

    def __init__(self, connection: Connection, asks: Iterable[Ask]) -> None:
        self._claims = {
            claim.budget: claim
            for ask in asks
            if isinstance(ask.terms, Terms)
            for claim in ask.terms.claims
            if claim
        }
        self._used: dict[str, int] = {}
        if self._claims:
            self._used = dict(query(connection, _USED, keys(self._claims)))
        self._stored = set(self._used)
        self._taken: dict[str, int] = {}

    def take(self, wanted: Terms) -> Refusal | None:
        """Take the amount from all of its budgets, or from none."""
        claims = [claim for claim in wanted.claims if claim]
        for claim in claims:
            if self._used.get(claim.budget, 0) + wanted.amount > claim.limit:
                return Refusal(Kind.BUDGET, f"the budget of this {LEVELS[claim.level - 1]} is used up")
        for claim in claims:
            self._used[claim.budget] = self._used.get(claim.budget, 0) + wanted.amount
            self._taken[claim.budget] = self._taken.get(claim.budget, 0) + wanted.amount
        return None

    def store(self, connection: Connection) -> None:
        """Write what was taken, rows sorted by (level, id). Raises `Contended`."""
        fresh = [_new_budget(self._claims[budget]) for budget in sorted(set(self._taken) - self._stored)]
        if fresh:
            write(connection, _INSERT_BUDGET, fresh)
            query(connection, _USED, keys(self._taken))  # locks them, in order
        rows = [(budget, self._taken[budget], self._claims[budget].limit) for budget in self._taken]
        if write(connection, _RESERVE, rows) != len(rows):
            raise Contended(", ".join(self._taken))


_USED: Final = locked("SELECT budget, spent + reserved FROM budgets WHERE budget = ANY(?)", "budget")
_INSERT_BUDGET: Final = insertion(tables.budgets, "ON CONFLICT DO NOTHING")
_RESERVE: Final = Bulk(
    "UPDATE budgets SET reserved = reserved + ?2, cap = MAX(cap, ?3)"
    " WHERE budget = ?1 AND spent + reserved + ?2 <= ?3",
    "UPDATE budgets SET reserved = reserved + given.amount, cap = GREATEST(cap, given.most)"
    " FROM unnest($1::VARCHAR[], $2::BIGINT[], $3::BIGINT[]) AS given(name, amount, most)"
    " WHERE budget = given.name AND spent + reserved + given.amount <= given.most",
)


def _new_budget(claim: Claim) -> tuple[str | int, ...]:
    return claim.budget, claim.level, claim.id, claim.currency, claim.period, 0, 0, 0


def _reserved(ask: Ask, agreed: Terms) -> RequestRow:
    organisation, project, key = (claim.budget if claim else None for claim in agreed.claims)
    return _asked(ask, RESERVED)._replace(
        idempotency=ask.idempotency,
        reserved=agreed.amount,
        price_prompt=agreed.prices.prompt,
        price_cached=agreed.prices.cached,
        price_output=agreed.prices.output,
        price_version=agreed.price_version,
        currency=agreed.currency,
        period=agreed.period,
        organisation_budget=organisation,
        project_budget=project,
        key_budget=key,
    )


def _refused(ask: Ask, refusal: Refusal) -> RequestRow:
    return _asked(ask, REFUSED)._replace(
        refusal=refusal.kind.name,
        refusal_code=refusal.code or refusal.kind.value,
        refusal_message=refusal.message,
        first_request=refusal.first_request,
    )


def _asked(ask: Ask, state: str) -> RequestRow:
    return RequestRow(
        ask.request,
        ask.organisation,
        ask.project,
        ask.key,
        ask.model,
        ask.owner,
        state,
        fingerprint=ask.fingerprint,
        reserved_ms=ask.at_ms,
        expires_ms=ask.at_ms + ask.ttl_ms + GRACE_MS,
        traceparent=ask.traceparent,
    )
