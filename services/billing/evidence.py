"""Between the contracts and billing's rules: evidence read, facts and answers built. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.billing.books.rows import RequestRow
from services.billing.settlement import Attempt, ChoiceDelivery, Close, Settlement, Usage
from shared.contracts.freehold.billing.v1.events_pb2 import (
    BudgetReserved,
    Money,
    RequestSettled,
    Tokens,
    UnitPrices,
)
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_YES, ClosedAttempt, RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import (
    REFUSER_BILLING,
    TERMINAL_STATE_FAILED,
    RequestFailed,
    RequestRefused,
)
from shared.errors import Kind
from shared.ids import pack

ALREADY_CLOSED = "already_closed"
OWNER_LOST = "owner_lost"


def close_of(closed: RequestClosed) -> Close:
    """What the rules need of a close."""
    return Close(
        closed.state,
        [
            Attempt(
                attempt.attempt,
                attempt.accepted,
                tuple(
                    ChoiceDelivery(choice.choice, choice.from_index, choice.delivered)
                    for choice in attempt.choices
                ),
            )
            for attempt in closed.attempts
        ],
    )


def usage_of(recorded: UsageRecorded) -> Usage:
    """What the rules need of a usage."""
    generated = [(choice.choice, choice.generated) for choice in recorded.choices]
    return Usage(recorded.attempt, recorded.prompt, recorded.cached, generated)


def answer(row: RequestRow) -> BudgetReserved | RequestRefused | RequestFailed:
    """The answer to a request's reserve: the same however often it is asked."""
    if row.reserved_ms is None:
        return RequestFailed(stage="billing", code=ALREADY_CLOSED)
    if row.refusal is not None:
        return RequestRefused(
            by=REFUSER_BILLING,
            kind=row.refusal,
            code=row.refusal_code or "",
            message=row.refusal_message or "",
            first_request=row.first_request or "",
        )
    return BudgetReserved(
        amount=row.reserved,
        price_version=row.price_version,
        prices=UnitPrices(prompt=row.price_prompt, cached=row.price_cached, output=row.price_output),
        currency=row.currency,
        period=row.period,
        limited=bool(row.budgets),
    )


def lost(row: RequestRow, usages: Iterable[int], now_ns: int) -> RequestClosed:
    """The close of a request whose owner is gone: failed, with the attempts that workers recorded."""
    # A UUIDv7 begins with the milliseconds of its making.
    accepted_ns = int.from_bytes(pack(row.request)[:6], "big") * 1_000_000
    return RequestClosed(
        project=row.project,
        key=row.key_id,
        model=row.model,
        state=TERMINAL_STATE_FAILED,
        attempts=[ClosedAttempt(attempt=number, accepted=ACCEPTED_YES) for number in sorted(usages)],
        accepted_ns=accepted_ns,
        closed_ns=now_ns,
        kind=Kind.FAILED.name,
        code=OWNER_LOST,
    )


def fact(
    row: RequestRow,
    closed: RequestClosed,
    settlement: Settlement,
    usages: Mapping[int, UsageRecorded],
    seq: int,
    now_ns: int,
) -> bytes:
    """The `RequestSettled` of a request; `usages` are those that the settlement counts."""
    # Fields are set in place: submessages given as arguments are built and then copied.
    settled = RequestSettled(
        request=row.request,
        organisation=row.organisation,
        seq=seq,
        closed=closed,
        period=row.period,
        usage_missing=settlement.usage_missing,
        owner_lost=bool(row.owner_lost),
        settled_ns=now_ns,
    )
    _fill_tokens(settled.tokens, settlement)
    _fill_money(settled.money, row, settlement)
    for attempt in sorted(usages):
        recorded = usages[attempt]
        used = settled.usages.add()
        used.attempt = recorded.attempt
        used.prompt = recorded.prompt
        used.cached = recorded.cached
        used.generated = sum(choice.generated for choice in recorded.choices)
        used.reason = recorded.reason
        if recorded.HasField("energy_mj"):
            used.energy_mj = recorded.energy_mj
    return settled.SerializeToString()


def _fill_tokens(tokens: Tokens, settlement: Settlement) -> None:
    tokens.prompt = settlement.prompt
    tokens.cached = settlement.cached
    tokens.chain = settlement.chain
    tokens.generated = settlement.generated
    tokens.delivered = settlement.delivered
    tokens.billed = settlement.billed


def _fill_money(money: Money, row: RequestRow, settlement: Settlement) -> None:
    charge, prices = settlement.charge, money.prices
    money.currency = row.currency
    money.price_version = row.price_version
    prices.prompt = row.price_prompt
    prices.cached = row.price_cached
    prices.output = row.price_output
    money.reserved = row.reserved
    money.prompt = charge.prompt
    money.cached = charge.cached
    money.output = charge.output
    money.total = charge.total
    money.operator_cost = settlement.operator_cost
