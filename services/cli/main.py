"""The command `freehold`."""

from __future__ import annotations

import click

from services.cli.demo import demo
from services.cli.inspect import ledger, status, trace
from services.cli.operate import budgets, keys, models, prices
from services.cli.receipts import receipt
from services.cli.up import up


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """An LLM service that its operator owns."""


for command in (up, status, demo, trace, ledger, receipt, keys, budgets, prices, models):
    main.add_command(command)
