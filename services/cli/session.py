"""The command line's connection to the running platform."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import click
import grpc

from services.cli.home import Home
from services.cli.settings import EmbeddedSettings
from shared.files import SystemFiles
from shared.rpc.channel import connect

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


def ask(question: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
    """Ask the running platform as its operator, or end with one line that says what is wrong."""
    place = home()
    if not place.token.exists():
        fail(f"there is no platform at {place.path}; start one with `make run`, or set FREEHOLD_HOME")
    token = place.token.read_text().strip()

    async def go() -> T:
        async with connect(place.address, token) as channel:
            return await question(channel)

    try:
        return asyncio.run(go())
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            fail(f"no platform runs at {place.path}; start it with `make run`")
        fail(error.details() or error.code().name)


def fail(message: str) -> NoReturn:
    """End the command with one line on standard error."""
    click.echo(f"freehold: {message}", err=True)
    raise SystemExit(1)
