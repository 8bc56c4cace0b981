"""The demo organisation, for whoever tries the platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.control.keeper import Keeper
from services.control.values import Value
from shared.callers import OPERATOR, Caller
from shared.configuration import Configuration
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


class Desk(Protocol):
    """Where values are put: the keeper itself, or control over gRPC."""

    @property
    def known(self) -> Configuration:
        """What is stored."""

    async def put(self, value: Value, caller: Caller) -> int:
        """Store a value; its version."""

    async def create_key(self, asked: pb.Key, caller: Caller) -> tuple[pb.Key, str]:
        """A new key and its secret."""


async def seed_demo(desk: Desk) -> DemoKeys:
    """Make the demo organisation, its project, prices and budget where they are missing, and two new keys.

    It may use every model, under every policy, that is offered by now.
    """
    known = desk.known
    if ORGANISATION not in known.organisations:
        organisation = pb.Organisation(
            id=ORGANISATION,
            name="Demo organisation",
            time_zone="UTC",
            currency=CURRENCY,
            policies=sorted(known.policies),
        )
        await desk.put(organisation, OPERATOR)
    if PROJECT not in known.projects:
        await desk.put(pb.Project(id=PROJECT, organisation=ORGANISATION, name="Demo project"), OPERATOR)
    for name in sorted(known.models):
        if known.price_of(name, CURRENCY) is None:
            price = pb.Price(model=name, currency=CURRENCY, version="1", **PRICES)
            await desk.put(price, OPERATOR)
    if known.budget_of("organisation", ORGANISATION) is None:
        budget = pb.Budget(
            level=pb.LEVEL_ORGANISATION,
            id=ORGANISATION,
            organisation=ORGANISATION,
            currency=CURRENCY,
            limit=MONTHLY_LIMIT,
            period=pb.PERIOD_MONTH,
        )
        await desk.put(budget, OPERATOR)
    client = await _key(desk, "demo client", ["complete", "usage"])
    admin = await _key(desk, "demo administrator", ["complete", "usage", "admin", "operator"])
    return DemoKeys(client, admin)


async def _key(desk: Desk, name: str, roles: list[str]) -> str:
    asked = pb.Key(organisation=ORGANISATION, project=PROJECT, name=name, roles=roles)
    _, secret = await desk.create_key(asked, OPERATOR)
    return secret
