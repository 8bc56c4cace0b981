"""The ledger's own check passes over honest books and finds each forgery."""

import pytest

from services.billing.books.verify import Check, verify
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO, ACCEPTED_YES
from shared.contracts.freehold.platform.v1.outcome_pb2 import TERMINAL_STATE_CANCELLED, TERMINAL_STATE_FAILED
from tests.unit.billing.world import NOW_NS, World, budget, closed, ids, usage

pytestmark = pytest.mark.usefixtures("both")


@pytest.fixture
def world() -> World:
    """Completed, resumed with a stray, failed, cancelled early, lost, waiting, open, refused, diagnostic."""
    made = World(budget(10**9))
    asks = [made.ask() for _ in range(7)]
    completed, resumed, failed, cancelled, lost, waiting, _ = (ask.request for ask in asks)
    made.reserve(*asks[:4], *asks[5:], made.ask(organisation="rival"))
    made.reserve(made.ask(lost, ttl_ms=0))
    made.usages(completed, usage())
    made.close(completed, closed())
    made.usages(resumed, usage(1, generated=13), usage(2, generated=6), usage(3, generated=2))
    attempts = [(1, ACCEPTED_YES, 0, 10), (2, ACCEPTED_YES, 10, 6), (3, ACCEPTED_NO, 0, 0)]
    made.close(resumed, closed(attempts=attempts))
    made.usages(failed, usage())
    made.close(failed, closed(TERMINAL_STATE_FAILED))
    made.close(cancelled, closed(TERMINAL_STATE_CANCELLED, ()))
    made.usages(lost, usage())
    assert len(made.sweep(NOW_NS // 1_000_000 + 130_000)) == 1
    made.close(waiting, closed())
    made.usages(ids.request(), usage(diagnostic=True), organisation="")
    made.configuration.budgets["organisation.acme"].limit = 1
    made.reserve(made.ask())
    return made


def checks(world: World, organisation: str = "") -> list[Check]:
    return world.run(lambda connection: verify(connection, organisation))


def failing(world: World) -> set[str]:
    return {check.name for check in checks(world) if not check.passed}


def test_honest_books_pass_and_each_check_looked_at_something(world: World) -> None:
    for organisation in ("", "acme"):
        found = checks(world, organisation)
        assert [check.violations for check in found] == [[]] * len(found)
        assert all(check.examined for check in found)
    assert all(check.passed and not check.examined for check in checks(world, "nobody"))


FORGERIES = {
    "a line's amount": (
        "UPDATE lines SET amount = amount - 1 WHERE account = 'revenue:output'",
        "each entry's debits equal its credits",
    ),
    "a line is gone": ("DELETE FROM lines WHERE account = 'unbilled-generation'", "debits equal credits"),
    "both sides of an entry": (
        "UPDATE lines SET amount = amount * 2",
        "usage, closes and ledger agree",
    ),
    "an account": (
        "UPDATE lines SET account = 'receivable:rival' WHERE account = 'receivable:acme'",
        "usage, closes and ledger agree",
    ),
    "an entry is gone": (
        "DELETE FROM entries WHERE id = (SELECT MIN(id) FROM entries WHERE total = 0 AND generated = 0)",
        "one settlement a request",
    ),
    "an entry without a request": (
        "INSERT INTO entries SELECT 99, 'x', kind, organisation, project, model, currency, day, prompt,"
        " cached, generated, delivered, billed, total, booked_ns FROM entries WHERE id = 1",
        "one settlement a request",
    ),
    "an expense without a usage": (
        "INSERT INTO entries SELECT 99, request, 'stray:9', organisation, project, model, currency, day,"
        " prompt, cached, generated, delivered, billed, total, booked_ns FROM entries WHERE id = 1",
        "usage, closes and ledger agree",
    ),
    "a diagnostic's tokens": (
        "UPDATE entries SET generated = 1 WHERE kind = 'diagnostic:1'",
        "usage, closes and ledger agree",
    ),
    "a gap in seq": ("UPDATE requests SET seq = seq + 1 WHERE seq = 5", "no gap in seq"),
    "a fact is gone": ("DELETE FROM facts WHERE seq = 2", "no gap in seq"),
    "a fact too many": (
        "INSERT INTO facts SELECT organisation, 99, request, traceparent, value FROM facts WHERE seq = 1",
        "no gap in seq",
    ),
    "the counter": ("UPDATE counters SET last = 4 WHERE name = 'seq/acme'", "no gap in seq"),
    "a usage is gone": ("DELETE FROM usages WHERE attempt = 2", "usage, closes and ledger agree"),
    "a usage is garbled": ("UPDATE usages SET value = x'ff'", "usage, closes and ledger agree"),
    "a fact is garbled": ("UPDATE facts SET value = x'ff' WHERE seq = 1", "usage, closes and ledger agree"),
    "what was billed": (
        "UPDATE requests SET billed = billed + 1 WHERE seq = 1",
        "usage, closes and ledger agree",
    ),
    "what a budget spent": ("UPDATE budgets SET spent = spent - 1", "budgets equal their requests"),
    "what a budget holds": ("UPDATE budgets SET reserved = 0", "budgets equal their requests"),
    "a budget's row is gone": ("DELETE FROM budgets", "budgets equal their requests"),
    "an open request is billed": (
        "UPDATE requests SET billed = 1 WHERE state = 'reserved'",
        "nothing is billed above its reservation",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_each_forgery_is_found(world: World, forgery: str) -> None:
    statement, check = FORGERIES[forgery]
    world.forge(statement)
    assert check in failing(world)


def test_an_altered_close_is_found(world: World) -> None:
    ((value, seq),) = world.rows("SELECT value, seq FROM facts WHERE seq = 1")
    fact = RequestSettled.FromString(value)  # type: ignore[arg-type]
    fact.closed.attempts[0].choices[0].delivered -= 1
    world.forge("UPDATE facts SET value = ? WHERE seq = ?", fact.SerializeToString(), seq)
    assert failing(world) == {"usage, closes and ledger agree"}


def test_a_usage_that_says_more_than_was_billed_is_found(world: World) -> None:
    world.forge(
        "UPDATE usages SET value = ? WHERE request = (SELECT request FROM facts WHERE seq = 1)",
        usage(generated=17).SerializeToString(),
    )
    assert failing(world) == {"usage, closes and ledger agree"}
