"""A service's process, from its first line to its last."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import uvloop

from services.cli.deployed.deployed import Deployed
from services.cli.deployed.settings import ProcessSettings
from services.cli.descriptors import allow_connections
from services.cli.memory import settle_memory
from services.cli.session import fail
from shared.bus.ports import BusError
from shared.errors import FreeholdError
from shared.host import system_host
from shared.models.manifest import ManifestError
from shared.storage.database import DatabaseError
from shared.telemetry import TelemetrySettings
from shared.telemetry.logs import configure_logging

log = logging.getLogger(__name__)


def run(name: str) -> None:
    """Run one service until SIGTERM or Ctrl-C. What waiting does not mend ends it with one line."""
    settings, telemetry = ProcessSettings(), TelemetrySettings()
    configure_logging(sys.stderr, telemetry.log_level, telemetry.log_format == "json")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    allow_connections()
    try:
        uvloop.run(_run(name, settings, telemetry))
    except FreeholdError as error:
        fail(error.message)
    except (BusError, DatabaseError, ManifestError) as error:
        fail(str(error))


async def _run(name: str, settings: ProcessSettings, telemetry: TelemetrySettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    process = Deployed(name, settings, telemetry, system_host())
    starting = asyncio.ensure_future(process.start())
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        await starting
        log.info(
            "%s has started: internal gRPC on port %d, health and metrics on port %d",
            name,
            process.rpc_port,
            process.ops_port,
        )
        settle_memory()
        await waiting
        log.info("%s stops", name)
    except asyncio.CancelledError:
        log.info("%s stops before it has started", name)
    finally:
        waiting.cancel()
        await process.stop()
