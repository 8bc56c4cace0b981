"""The command `freehold`."""

from __future__ import annotations

from typing import Any

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from services.cli.demo import demo
from services.cli.faults import faults
from services.cli.inspect import ledger, status, trace
from services.cli.migrate import migrate
from services.cli.operate import budgets, keys, models, prices
from services.cli.receipts import receipt
from services.cli.secrets import secrets
from services.cli.serve import serve, welcome
from services.cli.session import fail
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
        except SettingsError as error:
            fail(str(error.__cause__ or error))


@click.group(cls=Freehold, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """An LLM service that its operator owns."""


COMMANDS = (
    *(up, demo, trace),
    *(secrets, topics, migrate, serve, welcome),
    *(status, ledger, receipt, keys, budgets, prices, models),
)
"""Of the embedded platform; of a deployed one; of both."""

for command in COMMANDS:
    main.add_command(command)
