"""Reservations: no overspending, stored answers, idempotency keys."""

import pytest
from sqlalchemy import Connection

from services.billing.books.reserving import KEY_LIFE_MS, Contended, Purses
from services.billing.books.rows import REFUSED, RESERVED
from services.billing.evidence import answer
from services.billing.terms import Size, Terms
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestFailed, RequestRefused
from shared.errors import Kind
from shared.storage.sql import change
from tests.unit.billing.world import KEY, NOW_NS, PROJECT, World, budget, closed, ids

pytestmark = pytest.mark.usefixtures("both")

NOW_MS = NOW_NS // 1_000_000
WORST = 64 * 150_000 // 1000 + 1 + 32 * 600_000 // 1000
ALL_LEVELS = [
    (config.LEVEL_ORGANISATION, "acme"),
    (config.LEVEL_PROJECT, PROJECT),
    (config.LEVEL_KEY, KEY),
]


def kinds(world: World, *asks: object) -> list[str]:
    rows = world.reserve(*asks)  # type: ignore[arg-type]
    return [row.refusal or row.state for row in rows]


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_of_two_hundred_racing_requests_ten_pass(batch: int) -> None:
    world = World(*(budget(10 * WORST, level, identifier) for level, identifier in ALL_LEVELS))
    asks = [world.ask() for _ in range(200)]
    found: list[str] = []
    for start in range(0, 200, batch):
        found += kinds(world, *asks[start : start + batch])
    assert (found.count(RESERVED), found.count("BUDGET")) == (10, 190)
    assert world.rows("SELECT reserved, spent, cap FROM budgets") == [(10 * WORST, 0, 10 * WORST)] * 3


@pytest.mark.parametrize(("level", "identifier"), ALL_LEVELS)
def test_each_level_stops_alone_and_takes_nothing_from_the_others(
    level: config.Level, identifier: str
) -> None:
    budgets = [
        budget(WORST if other == identifier else 100 * WORST, name, other) for name, other in ALL_LEVELS
    ]
    world = World(*budgets)
    rows = world.reserve(world.ask(), world.ask())
    assert [row.state for row in rows] == [RESERVED, REFUSED]
    assert rows[1].refusal_code == "insufficient_quota"
    assert config.Level.Name(level).removeprefix("LEVEL_").lower() in (rows[1].refusal_message or "")
    assert world.rows("SELECT reserved FROM budgets") == [(WORST,)] * 3


def test_no_budget_is_unlimited_and_said_so() -> None:
    world = World()
    found = answer(world.reserve(world.ask())[0])
    assert isinstance(found, BudgetReserved)
    assert (found.limited, found.amount, found.currency, found.period) == (False, WORST, "EUR", "")
    assert found.prices.output == 600_000


def test_a_request_counts_in_the_period_of_its_reservation_in_its_own_time_zone() -> None:
    # 2026-09-21T14:13:20Z is the 22nd on Kiritimati.
    month = budget(10 * WORST, period=config.PERIOD_MONTH)
    day = budget(10 * WORST, config.LEVEL_KEY, KEY, config.PERIOD_DAY)
    world = World(month, day, zone="Pacific/Kiritimati")
    row = world.reserve(world.ask())[0]
    assert row.budgets == ("1/acme/EUR/2026-09", f"3/{KEY}/EUR/2026-09-22")
    assert row.period == "2026-09-22"


def test_a_budget_begins_anew_with_its_period() -> None:
    world = World(budget(WORST, period=config.PERIOD_DAY))
    tomorrow = NOW_MS + 24 * 3600 * 1000
    assert kinds(world, world.ask(), world.ask(), world.ask(at_ms=tomorrow)) == [RESERVED, "BUDGET", RESERVED]


def test_a_limit_may_be_lowered_below_what_is_reserved() -> None:
    world = World(budget(2 * WORST))
    assert kinds(world, world.ask()) == [RESERVED]
    world.configuration.budgets["organisation.acme"].limit = 1
    assert kinds(world, world.ask()) == ["BUDGET"]
    world.configuration.budgets["organisation.acme"].limit = 2 * WORST
    assert kinds(world, world.ask(), world.ask()) == [RESERVED, "BUDGET"]


def test_no_price_and_no_currency_are_refused() -> None:
    world = World()
    assert kinds(world, world.ask(organisation="nobody")) == ["PRICE_MISSING"]
    del world.configuration.prices["small.EUR"]
    row = world.reserve(world.ask())[0]
    assert (row.refusal, row.refusal_code) == ("PRICE_MISSING", "price_missing")


def test_configuration_that_cannot_be_counted_in_is_refused() -> None:
    world = World(budget(WORST, currency="CHF"))
    assert kinds(world, world.ask()) == ["BUDGET"]
    strange = World(budget(WORST, period=config.PERIOD_DAY), zone="Mars/Olympus")
    assert kinds(strange, strange.ask()) == ["PRICE_MISSING"]
    dear = World()
    dear.configuration.prices["small.EUR"].output = 10**15
    assert kinds(dear, dear.ask(size=Size(1, 2**32 - 1, 128))) == ["PRICE_MISSING"]


def test_a_redelivered_reserve_gets_the_stored_answer_also_a_refusal() -> None:
    world = World(budget(WORST))
    asks = [world.ask(), world.ask()]
    first = [answer(row) for row in world.reserve(*asks)]
    assert [type(item) for item in first] == [BudgetReserved, RequestRefused]
    world.configuration.budgets["organisation.acme"].limit = 100 * WORST
    world.configuration.prices["small.EUR"].output = 1
    again = [world.ask(ask.request) for ask in asks]
    assert [answer(row) for row in world.reserve(*again, *asks)] == first * 2
    assert world.rows("SELECT reserved FROM budgets") == [(WORST,)]


def test_a_reserve_after_its_close_is_told_so_and_takes_nothing() -> None:
    world = World(budget(10 * WORST))
    request = ids.request()
    world.close(request, closed(attempts=()))
    found = answer(world.reserve(world.ask(request))[0])
    assert found == RequestFailed(stage="billing", code="already_closed")
    assert world.rows("SELECT * FROM budgets") == []


def test_a_key_repeats() -> None:
    world = World()
    first = world.ask(key="k")
    rows = world.reserve(first, world.ask(key="k"), world.ask(key="k", body=b"other"), world.ask(key="j"))
    assert [row.refusal for row in rows] == [None, "REPEATED", "REPEATED_OTHERWISE", None]
    assert [row.first_request for row in rows[1:3]] == [first.request] * 2
    later = world.reserve(world.ask(key="k"))[0]
    refused = answer(later)
    assert isinstance(refused, RequestRefused)
    assert (refused.kind, refused.code, refused.first_request) == (
        "REPEATED",
        Kind.REPEATED.value,
        first.request,
    )
    assert [answer(row) for row in world.reserve(world.ask(later.request, key="k"))] == [refused]


@pytest.mark.attack(26)
def test_the_same_key_of_another_tenant_is_another_key() -> None:
    world = World()
    rows = world.reserve(world.ask(key="k"), world.ask(key="k", organisation="rival"))
    assert [row.refusal for row in rows] == [None, None]


def test_a_key_is_free_after_thirty_days_and_after_a_refusal() -> None:
    world = World(budget(2 * WORST))
    world.reserve(world.ask(key="k"))
    due = NOW_MS + KEY_LIFE_MS
    rows = world.reserve(world.ask(key="k", at_ms=due), world.ask(key="k", at_ms=due + 1))
    assert [row.refusal for row in rows] == ["REPEATED", None]
    refused = world.reserve(world.ask(key="j"))[0]
    assert refused.refusal == "BUDGET"
    world.configuration.budgets["organisation.acme"].limit = 9 * WORST
    assert world.reserve(world.ask(key="j"))[0].refusal is None


def test_fifty_of_one_key_make_one_request() -> None:
    world = World()
    asks = [world.ask(key="k") for _ in range(50)]
    rows = world.reserve(*asks[:25]) + world.reserve(*asks[25:])
    assert [row.refusal for row in rows].count(None) == 1


def test_the_database_has_the_last_word_on_a_budget() -> None:
    world = World(budget(2 * WORST))
    world.reserve(world.ask())
    ask = world.ask()

    def behind_its_back(connection: Connection) -> None:
        # Another transaction commits between the decision and the update.
        purses = Purses(connection, [ask])
        assert isinstance(ask.terms, Terms)
        assert purses.take(ask.terms) is None
        change(connection, "UPDATE budgets SET reserved = cap WHERE level = ?", (1,))
        purses.store(connection)

    with pytest.raises(Contended):
        world.run(behind_its_back)
    assert world.rows("SELECT reserved FROM budgets") == [(WORST,)]
