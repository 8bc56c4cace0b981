"""Amounts and tables as people read and write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

NANO = 10**9
MOST = 10**18
"""Of 10^-9 units: a thousand million currency units."""


def amount(nano: int, currency: str) -> str:
    """An amount of 10^-9 units with all digits that matter, such as `0.000012 USD`."""
    number = Decimal(nano) / NANO
    return f"{number.normalize():f} {currency}".strip()


class Amount(click.ParamType[int]):
    """A decimal amount of a currency unit, exact to 10^-9."""

    name = "amount"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The amount in 10^-9 units."""
        if isinstance(value, int):
            return value
        try:
            number = Decimal(str(value)) * NANO
        except InvalidOperation:
            self.fail(f"{value!r} is not an amount", param, ctx)
        if not number.is_finite() or number != int(number) or number < 0:
            self.fail(f"{value!r} must be 0 or more, with at most 9 decimals", param, ctx)
        if number > MOST:
            self.fail(f"{value!r} is above {MOST // NANO}, the most that can be counted", param, ctx)
        return int(number)


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table. The first column, which names the rows, keeps its lines whole."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(Text, row))  # names are their users' and no markup
    Console().print(table)
