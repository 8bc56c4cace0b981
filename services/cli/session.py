"""The command line's connection to the running platform."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import click
import grpc

from services.cli.deployed.given import identity, tokens
from services.cli.deployed.settings import ProcessSettings
from services.cli.embedded.home import Home
from services.cli.embedded.settings import EmbeddedSettings
from shared.errors import FreeholdError
from shared.files import SystemFiles
from shared.rpc.channel import connect
from shared.rpc.identity import Identity

T = TypeVar("T")


def home() -> Home:
    """The folder that the environment names."""
    return Home(EmbeddedSettings().home, SystemFiles())


def freehold() -> str:
    """How a person calls this command in the shell at hand."""
    return "freehold" if shutil.which("freehold") else ".venv/bin/freehold"


def near(path: Path) -> Path:
    """The path as it is typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _operator(settings: ProcessSettings) -> tuple[str, Identity | None]:
    try:
        return tokens(settings)[0], identity()
    except FreeholdError as error:
        fail(error.message)


class Channels(NamedTuple):
    """The internal gRPC of the services that operators ask; one process may answer for all."""

    control: grpc.aio.Channel
    billing: grpc.aio.Channel
    audit: grpc.aio.Channel


def ask(question: Callable[[Channels], Awaitable[T]]) -> T:
    """Ask the running platform as its operator, or end with one line that says what is wrong.

    It is the one that `FREEHOLD_TOKEN` and the targets name; without a token, the embedded one of
    `FREEHOLD_HOME`.
    """
    settings = ProcessSettings()
    if settings.token.get_secret_value():
        token, own = _operator(settings)
        targets = (settings.control_target, settings.billing_target, settings.audit_target)
        places = ", ".join(dict.fromkeys(targets))
        nobody = f"no answer at {places}; FREEHOLD_CONTROL_TARGET and its like name other places"
        return _ask(question, targets, token, nobody, own)
    place = home()
    if not place.token.exists():
        fail(f"there is no platform at {place.path}; start one with `make run`, or set FREEHOLD_HOME")
    token = place.token.read_text().strip()
    nobody = f"no platform runs at {place.path}; start it with `make run`"
    return _ask(question, (place.address,) * 3, token, nobody)


def _ask(
    question: Callable[[Channels], Awaitable[T]],
    targets: tuple[str, str, str],
    token: str,
    nobody: str,
    own: Identity | None = None,
) -> T:
    # Where one process answers for all there is one channel, and no certificate to tell services apart.
    places = list(zip(targets, Channels._fields if own else ("",) * len(targets), strict=True))

    async def go() -> T:
        async with AsyncExitStack() as open_:
            made = {
                place: await open_.enter_async_context(
                    connect(place[0], token, service=place[1], identity=own)
                )
                for place in dict.fromkeys(places)
            }
            return await question(Channels(*(made[place] for place in places)))

    try:
        return asyncio.run(go())
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            fail(nobody)
        fail(error.details() or error.code().name)


def fail(message: str) -> NoReturn:
    """End the command with one line on standard error."""
    click.echo(f"freehold: {message}", err=True)
    raise SystemExit(1)
