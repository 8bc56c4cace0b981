"""Double-entry lines. Pure.

A line is positive for a debit and negative for a credit; the lines of an entry sum to zero. What was
generated and not billed is debited to the operator under its cause, so that waste is visible while
the books balance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.money import Charge

SETTLEMENT: Final = "settlement"
"""Kind of the one entry that settles a request."""
UNBILLED: Final = "unbilled-generation"
"""Counter-account of the operator's cost."""


class Line(NamedTuple):
    """One side of an entry."""

    account: str
    amount: int
    """10^-9 of the entry's currency; positive = debit, negative = credit."""


def receivable(organisation: str) -> str:
    """What an organisation owes."""
    return f"receivable:{organisation}"


def operator_cost(cause: str) -> str:
    """Generated at the operator's own expense; `cause` is a terminal state, `owner_lost`, `stray` or
    `diagnostic`.
    """
    return f"operator-cost:{cause}"


def stray(attempt: int) -> str:
    """Kind of the entry for an attempt's usage that its request's settlement does not count."""
    return f"stray:{attempt}"


def diagnostic(attempt: int) -> str:
    """Kind of the entry for an operator's own generation."""
    return f"diagnostic:{attempt}"


def settlement_lines(organisation: str, charge: Charge, cost: int, cause: str) -> Sequence[Line]:
    """Lines of a settlement; amounts of zero make none."""
    lines = (
        Line(receivable(organisation), charge.total),
        Line("revenue:prompt", -charge.prompt),
        Line("revenue:cached", -charge.cached),
        Line("revenue:output", -charge.output),
        *cost_lines(cost, cause),
    )
    return [line for line in lines if line.amount]


def cost_lines(cost: int, cause: str) -> Sequence[Line]:
    """Lines of what the operator bears."""
    return (Line(operator_cost(cause), cost), Line(UNBILLED, -cost)) if cost else ()
