"""Every row of the table of what is billed (proto/README.md, section 4), and who is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.ledger import UNBILLED, operator_cost, receivable, settlement_lines
from services.billing.settlement import (
    Accepted,
    Attempt,
    ChoiceDelivery,
    Close,
    Settlement,
    Usage,
    awaited,
    settle,
)
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.money import Prices, line

COMPLETED, REFUSED, FAILED, CANCELLED, EXPIRED = (
    outcome.TERMINAL_STATE_COMPLETED,
    outcome.TERMINAL_STATE_REFUSED,
    outcome.TERMINAL_STATE_FAILED,
    outcome.TERMINAL_STATE_CANCELLED,
    outcome.TERMINAL_STATE_EXPIRED,
)
YES, NO, UNKNOWN = Accepted.YES, Accepted.NO, Accepted.UNKNOWN
PRICES = Prices(150_000, 30_000, 600_000)
PLENTY = 10**15


def attempt(number: int, accepted: int, start: int = 0, delivered: int = 0) -> Attempt:
    return Attempt(number, accepted, (ChoiceDelivery(0, start, delivered),))


def usage(number: int, generated: int, prompt: int = 40, cached: int = 8) -> Usage:
    return Usage(number, prompt, cached, ((0, generated),))


def settled(state: outcome.TerminalState, attempts: list[Attempt], *usages: Usage) -> Settlement:
    return settle(Close(state, attempts), {item.attempt: item for item in usages}, PRICES, PLENTY)


def counts(found: Settlement) -> tuple[int, int, int, int]:
    return found.chain, found.generated, found.delivered, found.billed


@pytest.mark.parametrize(
    ("state", "billed"), [(COMPLETED, 12), (REFUSED, 12), (CANCELLED, 16), (EXPIRED, 16)]
)
def test_after_an_attempt_the_prompt_is_billed_once_and_output_by_the_state(
    state: outcome.TerminalState, billed: int
) -> None:
    found = settled(state, [attempt(1, YES, 0, 12)], usage(1, 16))
    assert counts(found) == (16, 16, 12, billed)
    assert found.charge == (line(32, 150_000), line(8, 30_000), line(billed, 600_000))
    assert found.operator_cost == line(16 - billed, 600_000)
    assert not found.usage_missing


@pytest.mark.parametrize("state", [REFUSED, FAILED, CANCELLED, EXPIRED])
def test_before_any_attempt_nothing_is_billed(state: outcome.TerminalState) -> None:
    for attempts in ([], [attempt(1, NO)], [attempt(1, UNKNOWN)]):
        found = settled(state, attempts)
        assert (found.charge.total, found.operator_cost, found.prompt) == (0, 0, 0)
        assert not found.usage_missing


def test_what_failed_is_the_operators_cost() -> None:
    found = settled(FAILED, [attempt(1, YES, 0, 12)], usage(1, 16))
    assert found.charge.total == 0
    assert counts(found) == (16, 16, 12, 0)
    assert found.operator_cost == line(16, 600_000)


def test_a_resumed_chain_is_its_prefix_and_what_came_after() -> None:
    attempts = [attempt(1, YES, 0, 10), attempt(2, YES, 10, 6)]
    found = settled(COMPLETED, attempts, usage(1, 13), usage(2, 6, cached=40))
    assert counts(found) == (16, 19, 16, 16)
    assert (found.prompt, found.cached) == (40, 40)
    assert found.operator_cost == line(3, 600_000)


def test_the_resumed_attempts_usage_covers_the_prefix_of_a_killed_worker() -> None:
    found = settled(CANCELLED, [attempt(1, YES, 0, 10), attempt(2, YES, 10, 4)], usage(2, 6))
    assert counts(found) == (16, 16, 14, 16)
    assert found.usage_missing


def test_a_plain_answers_prefix_was_generated_though_nothing_was_delivered() -> None:
    found = settled(CANCELLED, [attempt(1, YES, 0, 0), attempt(2, YES, 10, 0)], usage(2, 6))
    assert counts(found) == (16, 16, 0, 16)


def test_where_the_last_usage_is_missing_delivered_ids_are_billed() -> None:
    found = settled(CANCELLED, [attempt(1, YES, 0, 10), attempt(2, YES, 10, 4)], usage(1, 13))
    assert counts(found) == (14, 17, 14, 14)
    assert found.usage_missing
    assert found.prompt == 40  # the earlier attempt's: a prompt is the same each time
    assert found.charge.prompt == line(32, 150_000)


def test_a_prompt_that_no_worker_counted_is_not_billed() -> None:
    found = settled(CANCELLED, [attempt(1, YES, 0, 5)])
    assert found.charge == (0, 0, line(5, 600_000))
    assert found.usage_missing


def test_unknown_without_usage_is_no_and_with_usage_is_yes() -> None:
    attempts = [attempt(1, UNKNOWN, 0, 0)]
    assert settled(CANCELLED, attempts).charge.total == 0
    assert counts(settled(CANCELLED, attempts, usage(1, 16))) == (16, 16, 0, 16)
    assert awaited(Close(CANCELLED, [*attempts, attempt(2, NO), attempt(3, YES)])) == {1, 3}


def test_an_attempt_that_was_cancelled_before_it_began_does_not_hide_the_prompt() -> None:
    attempts = [attempt(1, YES, 0, 10), attempt(2, UNKNOWN, 10, 0)]
    found = settled(CANCELLED, attempts, usage(1, 13), usage(2, 0, prompt=0, cached=0))
    assert (found.prompt, found.cached, found.charge.prompt) == (40, 8, line(32, 150_000))
    assert counts(found) == (10, 13, 10, 10)
    assert counts(settled(CANCELLED, [attempt(1, UNKNOWN)], usage(1, 0, prompt=0, cached=0))) == (0, 0, 0, 0)


def test_usage_of_an_attempt_that_nobody_took_is_not_counted() -> None:
    found = settled(CANCELLED, [attempt(1, NO), attempt(2, YES)], usage(1, 99), usage(2, 16))
    assert counts(found) == (16, 16, 0, 16)


def test_delivery_is_not_believed_beyond_what_was_generated() -> None:
    found = settled(COMPLETED, [attempt(1, YES, 0, 20)], usage(1, 16))
    assert counts(found) == (16, 16, 20, 16)


def test_choices_are_summed_and_one_that_ended_earlier_keeps_its_chain() -> None:
    first = Attempt(1, YES, (ChoiceDelivery(0, 0, 5), ChoiceDelivery(1, 0, 3)))
    second = Attempt(2, YES, (ChoiceDelivery(1, 3, 4),))
    usages = {1: Usage(1, 40, 0, ((0, 5), (1, 4))), 2: Usage(2, 40, 8, ((1, 4),))}
    found = settle(Close(COMPLETED, [second, first]), usages, PRICES, PLENTY)
    assert counts(found) == (12, 13, 12, 12)


def test_more_than_was_reserved_is_never_billed() -> None:
    found = settle(Close(COMPLETED, [attempt(1, YES, 0, 16)]), {1: usage(1, 16)}, PRICES, 5_000)
    assert found.charge.total == 5_000
    full = line(32, 150_000) + line(8, 30_000) + line(16, 600_000)
    assert found.operator_cost == full - 5_000


def test_numbers_are_the_contracts() -> None:
    assert {item.name: int(item) for item in Accepted} == {
        name.removeprefix("ACCEPTED_"): int(number) for name, number in edge.Accepted.items() if number
    }


deliveries = st.builds(ChoiceDelivery, st.integers(0, 2), st.integers(0, 300), st.integers(0, 300))
attempts_strategy = st.lists(
    st.builds(
        Attempt,
        st.integers(1, 4),
        st.sampled_from([YES, NO, UNKNOWN]),
        st.lists(deliveries, max_size=3, unique_by=lambda item: item.choice).map(tuple),
    ),
    max_size=4,
    unique_by=lambda item: item.number,
)
usages_strategy = st.dictionaries(
    st.integers(1, 5),
    st.builds(
        Usage,
        st.just(0),
        st.integers(0, 500),
        st.integers(0, 600),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), unique_by=lambda item: item[0]),
    ),
)


@given(
    st.sampled_from([COMPLETED, REFUSED, FAILED, CANCELLED, EXPIRED]),
    attempts_strategy,
    usages_strategy,
    st.builds(Prices, *[st.integers(0, 10**8)] * 3),
    st.integers(0, 10**9),
)
def test_the_books_balance_whatever_the_evidence(
    state: outcome.TerminalState,
    attempts: list[Attempt],
    usages: dict[int, Usage],
    prices: Prices,
    reserved: int,
) -> None:
    found = settle(Close(state, attempts), usages, prices, reserved)
    lines = settlement_lines("acme", found.charge, found.operator_cost, "x")
    assert sum(item.amount for item in lines) == 0
    assert found.charge.total <= reserved
    assert 0 <= found.billed <= found.chain <= found.generated
    assert 0 <= found.cached <= found.prompt
    books = {item.account: item.amount for item in lines}
    assert books.get(receivable("acme"), 0) == found.charge.total
    assert books.get(operator_cost("x"), 0) == -books.get(UNBILLED, 0) == found.operator_cost
    if state == FAILED:
        assert found.charge.total == 0
    reversed_order = settle(Close(state, attempts[::-1]), dict(reversed(usages.items())), prices, reserved)
    assert reversed_order == found
