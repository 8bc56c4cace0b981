"""Money is exact: integers, one rounding a line, never above the reservation."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.pricing import MAX_AMOUNT, AmountTooLarge, charge, reservation
from shared.money import Prices, line

tokens = st.integers(0, 200_000)
unit = st.integers(0, 10**9)
prices = st.builds(Prices, unit, unit, unit)


@given(prices, tokens, tokens, st.integers(1, 8), st.data())
def test_no_charge_within_the_bounds_is_above_the_reservation(
    unit_prices: Prices, bound: int, most: int, choices: int, data: st.DataObject
) -> None:
    prompt = data.draw(st.integers(0, bound))
    cached = data.draw(st.integers(0, prompt))
    output = data.draw(st.integers(0, most * choices))
    reserved = reservation(unit_prices, bound, most, choices)
    billed, excess = charge(unit_prices, prompt, cached, output, reserved)
    assert billed.total <= reserved
    assert excess == 0
    exact = (
        Fraction((prompt - cached) * unit_prices.prompt, 1000)
        + Fraction(cached * unit_prices.cached, 1000)
        + Fraction(output * unit_prices.output, 1000)
    )
    assert abs(billed.total - exact) <= Fraction(3, 2)


@given(prices, tokens, tokens, tokens, st.integers(0, 10**9))
def test_what_a_reservation_does_not_cover_is_not_billed_and_not_forgotten(
    unit_prices: Prices, prompt: int, cached: int, output: int, reserved: int
) -> None:
    cached = min(cached, prompt)
    full, nothing = charge(unit_prices, prompt, cached, output, MAX_AMOUNT)
    billed, excess = charge(unit_prices, prompt, cached, output, reserved)
    assert nothing == 0
    assert billed.total <= reserved
    assert billed.total + excess == full.total
    assert min(billed) >= 0


@pytest.mark.attack(22)
def test_ten_million_requests_of_one_token_cost_exactly_ten_million_times_one() -> None:
    one, _ = charge(Prices(0, 0, 1_500), 0, 0, 1, 2)
    assert one.total == 2  # 1.5, half up, once a line
    assert sum(charge(Prices(0, 0, 1_500), 0, 0, 1, 2)[0].total for _ in range(1000)) * 10_000 == 2 * 10**7


@pytest.mark.attack(22)
def test_half_is_rounded_up_once() -> None:
    assert [line(count, 500) for count in (1, 2, 3)] == [1, 1, 2]
    assert line(1, 499) == 0


def test_a_price_that_no_column_can_hold_is_refused() -> None:
    with pytest.raises(AmountTooLarge):
        reservation(Prices(10**15, 0, 0), 2**32 - 1, 1, 1)
