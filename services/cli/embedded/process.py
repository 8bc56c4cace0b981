"""The embedded platform's process, from the first line on the screen to the last."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
from typing import TextIO, cast

import click
import uvloop

from services.cli.descriptors import allow_connections
from services.cli.embedded.platform import Embedded
from services.cli.embedded.settings import EmbeddedSettings
from services.cli.embedded.welcome import Progress, welcome
from services.cli.session import fail
from shared.bus.ports import BusError
from shared.errors import FreeholdError
from shared.host import system_host
from shared.models.manifest import ManifestError
from shared.storage.database import DatabaseError
from shared.telemetry import TelemetrySettings
from shared.telemetry.logs import configure_logging


class _StandardError(io.TextIOBase):
    """Standard error as it is at each write: while progress is shown, lines go above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def run() -> None:
    """Run until Ctrl-C or SIGTERM. What keeps the platform from starting ends it with one line."""
    settings, telemetry = EmbeddedSettings(), TelemetrySettings()
    _configure_logging(telemetry)
    allow_connections()
    try:
        uvloop.run(_run(settings, telemetry))
    except FreeholdError as error:
        fail(error.message)
    except (BusError, DatabaseError, ManifestError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or settings.home}: {error.strerror or error}")


def _configure_logging(telemetry: TelemetrySettings) -> None:
    """JSON for machines. People who look on get text, and only what wants their attention."""
    terminal = sys.stderr.isatty()
    asked = telemetry.model_fields_set
    level = "WARNING" if terminal and "log_level" not in asked else telemetry.log_level
    json = telemetry.log_format == "json" and not (terminal and "log_format" not in asked)
    configure_logging(cast(TextIO, _StandardError()), level, json)
    logging.getLogger("alembic").setLevel(logging.WARNING)


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
