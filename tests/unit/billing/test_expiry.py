"""Reservations end when nobody can own them any more, and not before."""

import pytest

from services.billing.books.expiry import BATCH
from services.billing.books.reserving import GRACE_MS
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_YES
from shared.contracts.freehold.platform.v1.outcome_pb2 import TERMINAL_STATE_CANCELLED, TERMINAL_STATE_FAILED
from shared.money import line
from tests.unit.billing.world import NOW_NS, World, budget, closed, usage

pytestmark = pytest.mark.usefixtures("both")

NOW_MS = NOW_NS // 1_000_000
EXPIRY = NOW_MS + 60_000 + GRACE_MS


def test_a_reservation_expires_at_the_logs_own_time() -> None:
    world = World(budget(10**9))
    ask = world.ask()
    world.reserve(ask)
    assert world.sweep(EXPIRY) == []
    ended = world.sweep(EXPIRY + 1)
    fact = RequestSettled.FromString(ended[0].fact.value)
    assert (ended[0].state, fact.owner_lost, fact.money.total) == ("owner_lost", True, 0)
    assert (fact.closed.state, fact.closed.code) == (TERMINAL_STATE_FAILED, "owner_lost")
    assert world.rows("SELECT spent, reserved FROM budgets") == [(0, 0)]
    assert world.accounts() == {}


def test_what_a_lost_owners_workers_generated_is_written_off() -> None:
    world = World(budget(10**9))
    ask = world.ask()
    world.reserve(ask)
    world.usages(ask.request, usage(1), usage(2, generated=4))
    fact = RequestSettled.FromString(world.sweep(EXPIRY + 1)[0].fact.value)
    assert (fact.tokens.generated, fact.tokens.billed, len(fact.usages)) == (20, 0, 2)
    cost = line(20, 600_000)
    assert world.accounts() == {"operator-cost:owner_lost": cost, "unbilled-generation": -cost}


def test_a_close_after_that_is_late_and_changes_nothing() -> None:
    world = World(budget(10**9))
    ask = world.ask()
    world.reserve(ask)
    world.usages(ask.request, usage())
    fact = world.sweep(EXPIRY + 1)[0].fact
    before = world.accounts()
    for _ in range(2):
        late = world.close(ask.request, closed())
        assert (late.booked, late.again) == ([], [fact])
    assert world.accounts() == before
    assert world.rows("SELECT type, attempt FROM late") == [("RequestClosed", 0)]


def test_a_refused_request_whose_owner_died_is_settled_too() -> None:
    world = World(budget(0))
    world.reserve(world.ask())
    assert [item.state for item in world.sweep(EXPIRY + 1)] == ["owner_lost"]


def test_a_new_life_ends_what_earlier_ones_left_open() -> None:
    world = World(budget(10**9))
    old, closing, mine = world.ask(owner=1), world.ask(owner=1), world.ask(owner=2)
    world.reserve(old, closing, mine)
    world.close(closing.request, closed(TERMINAL_STATE_CANCELLED, [(1, ACCEPTED_YES, 0, 3)]))
    ended = {item.fact.request: item.state for item in world.reopen(2)}
    assert ended == {old.request: "owner_lost", closing.request: "cancelled"}
    assert world.reopen(2) == []
    assert world.row(mine.request).state == "reserved"


def test_a_sweep_takes_a_bounded_bite() -> None:
    world = World()
    world.reserve(*(world.ask() for _ in range(BATCH + 1)))
    assert [len(world.sweep(EXPIRY + 1)) for _ in range(3)] == [BATCH, 1, 0]
