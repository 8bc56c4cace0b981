"""The command `freehold`."""

from __future__ import annotations

import importlib
from typing import Any

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from services.cli.faults import faults
from services.cli.session import fail

COMMANDS = {
    # The embedded platform.
    "up": "up",
    "demo": "demo",
    "trace": "inspect",
    # A deployed one.
    "secrets": "secrets",
    "certs": "certs",
    "topics": "topics",
    "migrate": "migrate",
    "serve": "serve",
    "welcome": "serve",
    # Both.
    "status": "inspect",
    "ledger": "inspect",
    "receipt": "receipts",
    "organisations": "operate",
    "keys": "operate",
    "budgets": "operate",
    "prices": "operate",
    "models": "operate",
}
"""Each command's name -> the module of `services.cli` that holds it, imported only when it is called."""


class Freehold(click.Group):
    """Ends with one line where a setting is wrong, whichever service it is for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. None too where a package is missing that is not ours: a service's image holds
        what the service needs, and `--help` there lists what it can do.
        """
        del ctx
        if (module := COMMANDS.get(cmd_name)) is None:
            return None
        try:
            found: click.Command = getattr(importlib.import_module(f"services.cli.{module}"), cmd_name)
        except ModuleNotFoundError as error:
            if (error.name or "services").split(".")[0] in ("services", "shared"):
                raise
            return None
        return found

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
