"""`freehold migrate`: make the databases' schemas, or bring them to this version."""

from __future__ import annotations

import click

from services.cli.session import fail

SERVICES = ("control", "billing", "audit")
"""The owners of durable state."""


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...", type=click.Choice(SERVICES))
@click.option(
    "--down-to",
    metavar="REVISION",
    default="",
    help="Go back to a revision of one service; `base` = nothing.",
)
def migrate(services: tuple[str, ...], down_to: str) -> None:
    """Make the PostgreSQL schemas of control, billing and audit, or bring them to this version.

    Run it before the services of a new version start. To run it again does nothing.
    """
    if down_to and len(services) != 1:
        fail("--down-to is of one service: name it")
    # Only here: `--help` needs neither Alembic nor the driver.
    from shared.storage.database import DatabaseError  # noqa: PLC0415
    from shared.storage.postgres_migrations import migrate_postgres  # noqa: PLC0415
    from shared.storage.settings import DatabaseSettings  # noqa: PLC0415

    settings = DatabaseSettings()
    for service in services or SERVICES:
        try:
            before, after = migrate_postgres(settings, service, down_to=down_to)
        except DatabaseError as error:
            fail(str(error))
        if before == after:
            click.echo(f"{service}: is at {after or 'nothing'}")
        else:
            click.echo(f"{service}: from {before or 'nothing'} to {after or 'nothing'}")
