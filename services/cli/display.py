"""Amounts and tables as people read and write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import click
from rich.console import Console
from rich.table import Table

NANO = 10**9


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
        return int(number)


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
