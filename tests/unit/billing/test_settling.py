"""Settlement in the books: once, in whatever order, with strays and late events accounted for."""

import pytest

from services.billing.books.settling import WAIT_MS
from services.billing.books.verify import verify
from services.billing.evidence import answer
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved, RequestSettled
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO, ACCEPTED_UNKNOWN, ACCEPTED_YES
from shared.contracts.freehold.platform.v1.outcome_pb2 import (
    TERMINAL_STATE_CANCELLED,
    TERMINAL_STATE_FAILED,
    TERMINAL_STATE_REFUSED,
)
from shared.money import line
from tests.unit.billing.world import NOW_NS, TRACE, World, budget, closed, facts, ids, usage

pytestmark = pytest.mark.usefixtures("both")

NOW_MS = NOW_NS // 1_000_000
TOTAL = line(32, 150_000) + line(8, 30_000) + line(16, 600_000)
BOOKS = {
    "receivable:acme": TOTAL,
    "revenue:cached": -line(8, 30_000),
    "revenue:output": -line(16, 600_000),
    "revenue:prompt": -line(32, 150_000),
}


def reserved(world: World) -> str:
    ask = world.ask()
    assert isinstance(answer(world.reserve(ask)[0]), BudgetReserved)
    return ask.request


@pytest.fixture
def world() -> World:
    return World(budget(10**9))


def test_usage_and_close_settle_a_request(world: World) -> None:
    request = reserved(world)
    assert facts(world.usages(request, usage())) == []
    done = world.close(request, closed())
    assert facts(done) == [request]
    fact = RequestSettled.FromString(done.booked[0].fact.value)
    assert (fact.seq, fact.request, fact.organisation) == (1, request, "acme")
    assert (fact.money.total, fact.money.reserved, fact.money.operator_cost) == (TOTAL, 28_801, 0)
    assert (fact.tokens.prompt, fact.tokens.cached, fact.tokens.billed) == (40, 8, 16)
    assert fact.closed == closed()
    assert [(item.attempt, item.generated) for item in fact.usages] == [(1, 16)]
    assert done.booked[0].fact.traceparent == TRACE
    assert world.accounts() == BOOKS
    assert world.rows("SELECT spent, reserved FROM budgets") == [(TOTAL, 0)]
    assert world.row(request).state == "settled"


def test_the_order_does_not_matter(world: World) -> None:
    request = reserved(world)
    assert facts(world.close(request, closed())) == []
    assert world.row(request).state == "closed"
    assert facts(world.usages(request, usage())) == [request]
    assert world.accounts() == BOOKS


def test_repetitions_settle_nothing_but_publish_the_fact_again(world: World) -> None:
    request = reserved(world)
    world.usages(request, usage(), usage())
    first = world.close(request, closed())
    for again in (world.close(request, closed()), world.usages(request, usage())):
        assert (again.booked, again.again, again.late) == ([], [first.booked[0].fact], 0)
    assert world.accounts() == BOOKS
    assert world.rows("SELECT COUNT(*) FROM entries") == [(1,)]


def test_seq_has_no_gap_and_each_tenant_its_own(world: World) -> None:
    for _ in range(3):
        request = reserved(world)
        world.usages(request, usage())
        world.close(request, closed())
    foreign = world.ask(organisation="rival")
    world.reserve(foreign)
    world.usages(foreign.request, usage(), organisation="rival")
    world.close(foreign.request, closed(), organisation="rival")
    assert world.rows("SELECT organisation, seq FROM facts ORDER BY organisation, seq") == [
        ("acme", 1),
        ("acme", 2),
        ("acme", 3),
        ("rival", 1),
    ]


def test_a_refused_request_is_settled_at_nothing() -> None:
    world = World(budget(0))
    ask = world.ask()
    assert world.reserve(ask)[0].refusal == "BUDGET"
    done = world.close(ask.request, closed(TERMINAL_STATE_REFUSED, ()))
    assert facts(done) == [ask.request]
    assert world.accounts() == {}
    assert world.rows("SELECT kind, total FROM entries") == [("settlement", 0)]


def test_a_close_before_its_reserve_settles_at_nothing(world: World) -> None:
    request = ids.request()
    done = world.close(request, closed(TERMINAL_STATE_CANCELLED, ()))
    assert (facts(done), world.row(request).state) == ([request], "settled")
    assert world.accounts() == {}


def test_all_awaited_usages_are_waited_for(world: World) -> None:
    request = reserved(world)
    attempts = [(1, ACCEPTED_UNKNOWN, 0, 0), (2, ACCEPTED_NO, 0, 0), (3, ACCEPTED_YES, 0, 16)]
    assert facts(world.close(request, closed(attempts=attempts))) == []
    assert facts(world.usages(request, usage(3))) == []
    assert facts(world.usages(request, usage(1, generated=4))) == [request]
    assert world.accounts() == BOOKS | {
        "operator-cost:completed": line(4, 600_000),
        "unbilled-generation": -line(4, 600_000),
    }


def test_waiting_ends_after_thirty_seconds_that_were_read(world: World) -> None:
    request = reserved(world)
    world.close(request, closed(TERMINAL_STATE_CANCELLED))
    assert world.sweep(NOW_MS + WAIT_MS) == []
    ended = world.sweep(NOW_MS + WAIT_MS + 1)
    assert [(item.fact.request, item.state) for item in ended] == [(request, "cancelled")]
    assert RequestSettled.FromString(ended[0].fact.value).usage_missing
    assert world.sweep(NOW_MS * 2) == []
    assert world.accounts()["receivable:acme"] == line(16, 600_000)  # delivered; the prompt nobody counted


def test_a_late_usage_is_the_operators_cost_once(world: World) -> None:
    request = reserved(world)
    world.close(request, closed(TERMINAL_STATE_CANCELLED))
    world.sweep(NOW_MS + WAIT_MS + 1)
    before = world.accounts()
    late = world.usages(request, usage(), usage())
    assert (late.late, late.booked) == (1, [])
    world.usages(request, usage())
    cost = line(16, 600_000)
    assert world.accounts() == before | {"operator-cost:stray": cost, "unbilled-generation": -cost}
    assert world.rows("SELECT type, attempt FROM late") == [("UsageRecorded", 1)]


@pytest.mark.parametrize("before", [True, False])
def test_usage_of_a_fenced_attempt_is_the_operators_cost_whenever_it_comes(
    world: World, before: bool
) -> None:
    request = reserved(world)
    if before:
        world.usages(request, usage(1, generated=5))
    world.usages(request, usage(2))
    world.close(request, closed(attempts=[(1, ACCEPTED_NO, 0, 0), (2, ACCEPTED_YES, 0, 16)]))
    if not before:
        world.usages(request, usage(1, generated=5))
    cost = line(5, 600_000)
    assert world.accounts() == BOOKS | {"operator-cost:stray": cost, "unbilled-generation": -cost}


def test_a_cancel_of_work_never_accepted_books_nothing(world: World) -> None:
    request = reserved(world)
    world.close(request, closed(TERMINAL_STATE_CANCELLED, [(1, ACCEPTED_NO, 0, 0)]))
    world.usages(request, usage(1, prompt=0, cached=0, generated=0))
    assert world.accounts() == {}
    assert world.rows("SELECT COUNT(*) FROM entries") == [(1,)]


def test_an_operators_own_generation_is_booked_once_without_a_request(world: World) -> None:
    request = ids.request()
    for _ in range(2):
        world.usages(request, usage(diagnostic=True), organisation="")
    cost = line(16, 7_000)
    assert world.accounts() == {"operator-cost:diagnostic": cost, "unbilled-generation": -cost}
    assert world.rows("SELECT request FROM requests") == []


@pytest.mark.attack(46)
def test_what_says_to_be_an_operators_own_generation_takes_no_part_in_a_request(world: World) -> None:
    before, after, own = reserved(world), reserved(world), ids.request()
    parked = [world.usages(before, usage(diagnostic=True))]
    world.usages(own, usage(diagnostic=True), organisation="")
    parked.append(world.close(own, closed()))
    for request in (before, after):
        world.usages(request, usage(generated=10))
        world.close(request, closed(attempts=[(1, ACCEPTED_YES, 0, 10)]))
    parked.append(world.usages(after, usage(2, diagnostic=True)))
    assert [len(settled.parked) for settled in parked] == [1, 1, 1]
    assert [str(reason) for (reason,) in world.rows("SELECT reason FROM parked ORDER BY topic DESC")] == [
        "something was reserved for an operator's own generation",
        "an operator's own generation has no close",
    ]
    assert world.row(before).billed == world.row(after).billed > 0
    assert all(check.passed for check in world.run(lambda connection: verify(connection, "")))


@pytest.mark.attack(46)
def test_another_tenants_evidence_is_parked_and_changes_nothing(world: World) -> None:
    request = reserved(world)
    assert len(world.usages(request, usage(), organisation="rival").parked) == 1
    assert len(world.close(request, closed(), organisation="rival").parked) == 1
    assert world.row(request).state == "reserved"
    assert [str(reason) for (reason,) in world.rows("SELECT reason FROM parked")] == [
        "tenant differs from the reservation's"
    ] * 2


def test_failed_requests_cost_the_customer_nothing(world: World) -> None:
    request = reserved(world)
    world.usages(request, usage())
    world.close(request, closed(TERMINAL_STATE_FAILED))
    cost = line(16, 600_000)
    assert world.accounts() == {"operator-cost:failed": cost, "unbilled-generation": -cost}
    assert world.rows("SELECT spent, reserved FROM budgets") == [(0, 0)]


def test_positions_never_go_back(world: World) -> None:
    request = reserved(world)
    world.usages(request, usage(1), usage(2))
    assert world.rows("SELECT topic, partition, next FROM positions") == [("usage", 0, 2)]
    world.rewind("usage", 1)
    world.usages(request, usage(2))
    assert world.rows("SELECT next FROM positions") == [(2,)]
