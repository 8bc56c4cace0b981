"""The arithmetic that billing and the edge share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.money import Prices, billed_output, charge, line, prompt_is_billed, worst_case

COMPLETED = outcome.TERMINAL_STATE_COMPLETED
REFUSED = outcome.TERMINAL_STATE_REFUSED
FAILED = outcome.TERMINAL_STATE_FAILED
CANCELLED = outcome.TERMINAL_STATE_CANCELLED
EXPIRED = outcome.TERMINAL_STATE_EXPIRED

unit_prices = st.integers(0, 10**12)
tokens = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("count", "price", "expected"), [(0, 5, 0), (1, 499, 0), (1, 500, 1), (3, 500, 2), (1000, 7, 7)]
)
def test_a_line_is_rounded_half_up_once(count: int, price: int, expected: int) -> None:
    assert line(count, price) == expected


@given(tokens, st.integers(1, 10_000), st.integers(1, 4), st.data())
def test_no_charge_within_the_bounds_is_above_the_worst_case(
    bound: int, max_output: int, choices: int, data: st.DataObject
) -> None:
    prices = Prices(data.draw(unit_prices), data.draw(unit_prices), data.draw(unit_prices))
    prompt = data.draw(st.integers(0, bound))
    cached = data.draw(st.integers(0, prompt))
    output = data.draw(st.integers(0, max_output * choices))
    reserved = worst_case(bound, max_output, choices, prices)
    lines = charge(prices, prompt, cached, output, reserved)
    assert lines.total <= reserved
    assert lines.output == line(output, prices.output), "nothing is cut within the bounds"
    assert lines.prompt == line(prompt - cached, prices.prompt)


@given(tokens, tokens, unit_prices, st.integers(0, 10**9))
def test_a_charge_is_never_above_what_was_reserved(
    prompt: int, output: int, unit: int, reserved: int
) -> None:
    lines = charge(Prices(unit, unit, unit), prompt, prompt // 2, output, reserved)
    assert 0 <= lines.total <= reserved
    assert min(lines) >= 0


@pytest.mark.parametrize(
    ("state", "accepted", "missing", "prompt", "output"),
    [
        (COMPLETED, True, False, True, 7),
        (REFUSED, True, False, True, 7),
        (REFUSED, False, False, False, 0),
        (CANCELLED, True, False, True, 9),
        (CANCELLED, True, True, True, 7),
        (CANCELLED, False, False, False, 0),
        (EXPIRED, True, False, True, 9),
        (EXPIRED, True, True, True, 7),
        (EXPIRED, False, False, False, 0),
        (FAILED, True, False, False, 0),
        (FAILED, False, False, False, 0),
    ],
)
def test_the_table_of_section_five(
    state: outcome.TerminalState, accepted: bool, missing: bool, prompt: bool, output: int
) -> None:
    assert prompt_is_billed(state, accepted) is prompt
    assert billed_output(state, accepted, chain=9, delivered=7, usage_missing=missing) == output
