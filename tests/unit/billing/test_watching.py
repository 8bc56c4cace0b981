"""What an operator watches of the books is what is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from services.billing.watching import SHOWN, Watch
from shared.clock import SystemClock
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.host import system_host
from shared.telemetry import Telemetry, TelemetrySettings
from tests.unit.billing.world import ORGANISATION, PROJECT, World, budget, closed, usage

pytestmark = pytest.mark.usefixtures("both")

T = TypeVar("T")


class Reading:
    """The world's books as a database that is only read."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, work: Callable[[Connection], T]) -> T:
        return self._world.run(work)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        raise AssertionError("nothing is written")

    async def close(self) -> None: ...


class Watched:
    def __init__(self, world: World) -> None:
        self.registry = CollectorRegistry()
        telemetry = Telemetry(system_host(), TelemetrySettings(), self.registry)
        self.watch = Watch(Reading(world), world.configuration, SystemClock(), telemetry, 1.0)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"freehold_billing_{name}", labels)


async def test_what_is_open_and_what_waits() -> None:
    world = World(budget(10**12))
    watched = Watched(world)
    await watched.watch.turn()
    assert watched("reservations_open", currency="EUR") is None
    asks = [world.ask() for _ in range(3)]
    rows = world.reserve(*asks)
    held = sum(row.reserved for row in rows)
    await watched.watch.turn()
    assert watched("reservations_open", currency="EUR") == 3
    assert watched("reserved_money", currency="EUR") == pytest.approx(held * 1e-9)
    world.close(asks[0].request, closed())
    await watched.watch.turn()
    assert watched("awaiting_usage") == 1
    assert watched("reservations_open", currency="EUR") == 2
    world.usages(asks[0].request, usage())
    await watched.watch.turn()
    assert watched("awaiting_usage") == 0
    assert watched("parked_rows") == watched("outbox_rows") == 0
    assert watched("unchecked_entries") == watched("unbalanced_entries_total") == 0


async def test_budgets_near_their_end_are_named() -> None:
    other = World()
    amount = other.reserve(other.ask())[0].reserved
    tight = budget(amount * 10 // 9, config.LEVEL_PROJECT, PROJECT)
    world = World(budget(amount * 10), tight)
    watched = Watched(world)
    await watched.watch.turn()
    assert watched("budgets_near_end", level="project") == 0
    world.reserve(world.ask())
    await watched.watch.turn()
    assert watched("budget_used_ratio", level="project", id=PROJECT) == pytest.approx(0.9, abs=0.01)
    assert watched("budget_used_ratio", level="organisation", id=ORGANISATION) is None
    assert watched("budgets_near_end", level="project") == 1
    assert watched("budgets_near_end", level="organisation") == 0


async def test_only_so_many_are_named() -> None:
    spent = [budget(0, config.LEVEL_KEY, f"k{number}") for number in range(3 * SHOWN)]
    watched = Watched(World(*spent))
    await watched.watch.turn()
    assert watched("budgets_near_end", level="key") == 3 * SHOWN
    text = [
        sample
        for metric in watched.registry.collect()
        for sample in metric.samples
        if sample.name == "freehold_billing_budget_used_ratio"
    ]
    assert len(text) == SHOWN


async def test_an_entry_out_of_balance_is_counted_once() -> None:
    world = World()
    watched = Watched(world)
    await watched.watch.turn()
    ask = world.ask()
    world.reserve(ask)
    world.usages(ask.request, usage())
    world.close(ask.request, closed())
    forged = "UPDATE lines SET amount = amount - 1 WHERE account = 'revenue:output'"
    world.run(lambda connection: connection.exec_driver_sql(forged))
    await watched.watch.turn()
    await watched.watch.turn()
    assert watched("unbalanced_entries_total") == 1
