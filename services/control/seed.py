"""The demo organisation of the embedded mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.control.keeper import Keeper
from shared.callers import OPERATOR
from shared.contracts.freehold.control.v1 import config_pb2 as pb

ORGANISATION = "demo"
PROJECT = "demo-project"
CURRENCY = "USD"
PRICES = {"prompt": 100_000, "cached": 25_000, "output": 400_000}
"""10^-9 of a unit per 1,000 tokens: 0.10, 0.025 and 0.40 USD a million."""
MONTHLY_LIMIT = 1_000 * 10**9


@dataclass(frozen=True)
class DemoKeys:
    """Secrets, shown this once."""

    client: str
    admin: str


async def put_platform(keeper: Keeper, models: Sequence[pb.Model], policies: Sequence[pb.Policy]) -> None:
    """What this installation serves and under which packs; at every start, changes only."""
    for policy in policies:
        await keeper.put(policy, OPERATOR)
    for model in models:
        await keeper.put(model, OPERATOR)


async def seed_demo(keeper: Keeper, models: Sequence[pb.Model], policies: Sequence[pb.Policy]) -> DemoKeys:
    """Make the demo organisation, its project, prices and budget where they are missing, and two new keys."""
    known = keeper.known
    if ORGANISATION not in known.organisations:
        organisation = pb.Organisation(
            id=ORGANISATION,
            name="Demo organisation",
            time_zone="UTC",
            currency=CURRENCY,
            policies=[policy.id for policy in policies],
        )
        await keeper.put(organisation, OPERATOR)
    if PROJECT not in known.projects:
        await keeper.put(pb.Project(id=PROJECT, organisation=ORGANISATION, name="Demo project"), OPERATOR)
    for model in models:
        if known.price_of(model.name, CURRENCY) is None:
            price = pb.Price(model=model.name, currency=CURRENCY, version="1", **PRICES)
            await keeper.put(price, OPERATOR)
    if known.budget_of("organisation", ORGANISATION) is None:
        budget = pb.Budget(
            level=pb.LEVEL_ORGANISATION,
            id=ORGANISATION,
            organisation=ORGANISATION,
            currency=CURRENCY,
            limit=MONTHLY_LIMIT,
            period=pb.PERIOD_MONTH,
        )
        await keeper.put(budget, OPERATOR)
    client = await _key(keeper, "demo client", ["complete", "usage"])
    admin = await _key(keeper, "demo administrator", ["complete", "usage", "admin", "operator"])
    return DemoKeys(client, admin)


async def _key(keeper: Keeper, name: str, roles: list[str]) -> str:
    asked = pb.Key(organisation=ORGANISATION, project=PROJECT, name=name, roles=roles)
    _, secret = await keeper.create_key(asked, OPERATOR)
    return secret
