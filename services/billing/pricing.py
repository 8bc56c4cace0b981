"""What can be reserved, over `shared.money`, and what a reservation did not cover. Pure."""

from __future__ import annotations

from typing import Final

from shared import money
from shared.money import Charge, Prices

MAX_AMOUNT: Final = (1 << 62) - 1
"""Two of these still fit into a database's signed 64 bits."""
FREE: Final = Prices(0, 0, 0)


class AmountTooLarge(ValueError):
    """A price that cannot be represented."""


def reservation(prices: Prices, prompt_bound: int, max_output: int, choices: int) -> int:
    """The worst-case price of a request within these bounds. Raises `AmountTooLarge`."""
    amount = money.worst_case(prompt_bound, max_output, choices, prices)
    if amount > MAX_AMOUNT:
        raise AmountTooLarge(f"{amount} is above {MAX_AMOUNT}")
    return amount


def charge(prices: Prices, prompt: int, cached: int, output: int, reserved: int) -> tuple[Charge, int]:
    """What is billed, never above `reserved`, and by how much the full price is above it.

    The second is 0 as long as workers keep to the bounds that were reserved.
    """
    full = money.charge(prices, prompt, cached, output, MAX_AMOUNT << 8)
    if full.total <= reserved:
        return full, 0
    billed = money.charge(prices, prompt, cached, output, reserved)
    return billed, full.total - billed.total
