"""`freehold serve` and `freehold welcome`, as the command line knows it."""

from __future__ import annotations

import click

SERVICES = ("edge", "control", "tokenizer", "moderation", "inference", "billing", "audit")


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
def serve(service: str) -> None:
    """Run one SERVICE in this process, over Kafka and PostgreSQL, until SIGTERM."""
    # Only here: `--help` needs no service.
    from services.cli.deployed.process import run  # noqa: PLC0415

    run(service)


@click.command()
def welcome() -> None:
    """Wait until the deployed platform serves, make the demo's keys once, and say how to call it."""
    from services.cli.deployed.opening import welcome as run  # noqa: PLC0415 - as above

    run()
