"""The command `freehold`."""

from __future__ import annotations

from typing import Any

import click
from pydantic import ValidationError

from services.cli.demo import demo
from services.cli.inspect import ledger, status, trace
from services.cli.migrate import migrate
from services.cli.operate import budgets, keys, models, prices
from services.cli.receipts import receipt
from services.cli.secrets import secrets
from services.cli.session import fail
from services.cli.settings import faults
from services.cli.topics import topics
from services.cli.up import up


class Freehold(click.Group):
    """Ends with one line where a setting is wrong, whichever service it is for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ValidationError as error:
            fail(faults(error))


@click.group(cls=Freehold, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """An LLM service that its operator owns."""


for command in (
    *(up, status, demo, trace, ledger, receipt),
    *(keys, budgets, prices, models),
    *(secrets, migrate, topics),
):
    main.add_command(command)
