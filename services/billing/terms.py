"""On what terms a request is reserved: its price and the budgets it counts against. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from services.billing.periods import TimeZoneUnknown, first_day, period_at
from services.billing.pricing import MAX_AMOUNT, AmountTooLarge, reservation
from shared.configuration import Configuration
from shared.errors import Kind
from shared.money import Prices

LEVELS: Final = ("organisation", "project", "key")


class Claim(NamedTuple):
    """One budget that a request counts against, in the period of its reservation."""

    budget: str
    """Key of the budget's row: LEVEL/ID/CURRENCY/PERIOD, the level as a number from 1."""
    level: int
    id: str
    currency: str
    period: str
    limit: int


class Terms(NamedTuple):
    """What a request will be reserved and settled at."""

    amount: int
    """Worst case, 10^-9 of a currency unit."""
    prices: Prices
    price_version: str
    currency: str
    claims: tuple[Claim | None, Claim | None, Claim | None]
    """Of organisation, project and key; None = unlimited."""

    @property
    def period(self) -> str:
        """First day of the shortest period of the claims, ISO 8601; empty = none."""
        return max((first_day(claim.period) for claim in self.claims if claim), default="")


class Refusal(NamedTuple):
    """Why nothing is reserved."""

    kind: Kind
    message: str
    code: str = ""
    """Empty = the kind's own."""
    first_request: str = ""


class Size(NamedTuple):
    """Bounds of a request, in tokens."""

    prompt: int
    output: int
    choices: int


def terms(
    configuration: Configuration, scope: tuple[str, str, str], model: str, size: Size, at_ms: int
) -> Terms | Refusal:
    """The terms for (organisation, project, key) at a broker time; a refusal where there is no price."""
    organisation = configuration.organisations.get(scope[0])
    price = configuration.price_of(model, organisation.currency) if organisation else None
    if organisation is None or price is None:
        return Refusal(Kind.PRICE_MISSING, "this model has no price for your organisation")
    prices = Prices(price.prompt, price.cached, price.output)
    try:
        amount = reservation(prices, *size)
        found = [
            claim(configuration, number, identifier, organisation.time_zone, at_ms)
            for number, identifier in enumerate(scope, 1)
        ]
    except AmountTooLarge:
        return Refusal(Kind.PRICE_MISSING, "the price of this model is too large to be counted")
    except TimeZoneUnknown:
        return Refusal(Kind.PRICE_MISSING, "the time zone of your organisation is not known")
    for one in found:
        if one and one.currency != organisation.currency:
            message = f"the budget of this {LEVELS[one.level - 1]} is not in {organisation.currency}"
            return Refusal(Kind.BUDGET, message)
    claims = (found[0], found[1], found[2])
    return Terms(amount, prices, price.version, organisation.currency, claims)


def claim(configuration: Configuration, level: int, identifier: str, zone: str, at_ms: int) -> Claim | None:
    """The budget of an object in the period that holds a broker time; None = unlimited.

    Raises `TimeZoneUnknown`.
    """
    budget = configuration.budget_of(LEVELS[level - 1], identifier)
    if budget is None:
        return None
    period = period_at(budget.period, zone, at_ms)
    row = f"{level}/{identifier}/{budget.currency}/{period}"
    return Claim(row, level, identifier, budget.currency, period, min(budget.limit, MAX_AMOUNT))
