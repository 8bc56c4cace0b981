"""`freehold up`: the embedded platform from the first line on the screen to the last."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click
import uvloop

from services.cli.embedded import Embedded
from services.cli.session import fail
from services.cli.settings import EmbeddedSettings
from services.cli.welcome import Progress, welcome
from shared.errors import FreeholdError
from shared.host import system_host
from shared.models.manifest import ManifestError
from shared.storage.database import DatabaseError
from shared.telemetry import TelemetrySettings
from shared.telemetry.logs import configure_logging


@click.command()
def up() -> None:
    """Run the whole platform in this process until Ctrl-C."""
    settings, telemetry = EmbeddedSettings(), TelemetrySettings()
    json = telemetry.log_format == "json" and not sys.stderr.isatty()
    configure_logging(sys.stderr, telemetry.log_level, json)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        uvloop.run(_run(settings, telemetry))
    except FreeholdError as error:
        fail(error.message)
    except (DatabaseError, ManifestError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or settings.home}: {error.strerror or error}")


async def _run(settings: EmbeddedSettings, telemetry: TelemetrySettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with Progress() as progress:
        platform = Embedded(settings, telemetry, system_host(), progress.say)
        starting = asyncio.ensure_future(platform.start())
        waiting = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            await platform.stop()
            return
        except BaseException:
            waiting.cancel()
            await platform.stop()
            raise
    click.echo(welcome(platform))
    try:
        await waiting
    finally:
        click.echo(
            "\nStopping: running requests get up to "
            f"{settings.stop_grace_s:.0f} s; Ctrl-C again is not needed."
        )
        await platform.stop()
    click.echo(f"Stopped. Everything is kept in {platform.home.path}.")
