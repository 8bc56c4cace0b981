"""`freehold up`, as the command line knows it."""

from __future__ import annotations

import click


@click.command()
def up() -> None:
    """Run the whole platform in this process until Ctrl-C."""
    # Only here: with every service imported, `--help` would take two seconds longer.
    from services.cli.embedded.process import run  # noqa: PLC0415

    run()
