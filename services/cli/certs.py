"""`freehold certs`: the certificates by which the processes of an installation know one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import click

from services.cli.authority import AUTHORITY, HOLDERS, LIFE, Authority, Issued, now_of
from services.cli.session import fail
from shared.errors import FreeholdError
from shared.host import system_host

WITHIN_DAYS = 30


@click.group()
def certs() -> None:
    """Make, renew and list the certificates of mutual TLS.

    FOLDER/NAME/ is what the process of that name is given: identity.pem, its key and certificate, and
    ca.pem, whom it believes. FOLDER/authority/ signs; keep it where no service runs.
    """


@contextmanager
def _at(folder: Path) -> Iterator[tuple[Authority, datetime]]:
    """The authority of a folder and the time; ends with one line where something cannot be done."""
    host = system_host()
    now = now_of(host.clock.time_ns())
    try:
        yield Authority(host.files, folder, now), now
    except FreeholdError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror or error}")


_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@certs.command()
@_folder
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=HOST",
    help="A host name or address that NAME is reached by, beside its own name; may be repeated.",
)
@click.option("--renew", "renewing", is_flag=True, help="Renew as well, as `renew` does.")
def make(folder: Path, also: tuple[str, ...], renewing: bool) -> None:
    """Make an authority and a certificate for each process in FOLDER; keep what is there."""
    more = _by_holder(also)
    with _at(folder) as (authority, now):
        if not authority.exists:
            authority.found()
            click.echo(_line(authority.own(), now, "made"))
        there = set(authority.holders())
        for name in HOLDERS:
            if name in there:
                _renew(authority, name, now, WITHIN_DAYS if renewing else None)
            else:
                click.echo(_line(authority.issue(name, more[name]), now, "made"))


@certs.command()
@_folder
@click.argument("names", nargs=-1, type=click.Choice(tuple(HOLDERS)), metavar="[NAME]...")
@click.option(
    "--within",
    type=click.IntRange(0, 3650),
    default=WITHIN_DAYS,
    show_default=True,
    metavar="DAYS",
    help="Renew what ends within so many days.",
)
@click.option("--all", "every", is_flag=True, help="Renew whatever time is left.")
def renew(folder: Path, names: tuple[str, ...], within: int, every: bool) -> None:
    """Replace certificates, and their keys, that end soon: of NAMEs, or of all.

    Processes of Freehold take new files over by themselves; the guide says what else is to be told.
    """
    with _at(folder) as (authority, now):
        for name in names or authority.holders():
            _renew(authority, name, now, 2 * LIFE.days if every else within)


@certs.command(name="list")
@_folder
@click.option(
    "--within",
    type=click.IntRange(0, 3650),
    default=0,
    metavar="DAYS",
    help="End with status 1 where one ends within so many days.",
)
def show(folder: Path, within: int) -> None:
    """List the certificates, and the days that each has left."""
    with _at(folder) as (authority, now):
        found = [authority.issued(name) for name in authority.holders()]
        for one in (authority.own(), *found):
            click.echo(_line(one, now))
        if late := [one.name for one in found if one.not_after - now < timedelta(days=within)]:
            fail(f"within {within} days these end: {', '.join(late)}")


@certs.command(name="authority")
@_folder
@click.option("--finish", is_flag=True, help="Trust the new one alone, once all have its certificates.")
def replace_authority(folder: Path, finish: bool) -> None:
    """Replace the authority, without a moment in which two processes do not know each other.

    First this command, and wait until every process has the new ca.pem, which names both. Then
    `renew --all`, and wait again. Then this with --finish.
    """
    with _at(folder) as (authority, now):
        if finish:
            authority.finish()
            click.echo("one authority is trusted")
        else:
            authority.replace()
            click.echo(_line(authority.own(), now, "made"))


def _renew(authority: Authority, name: str, now: datetime, within: int | None) -> None:
    """`within` days; None = keep it whatever time is left."""
    before = authority.issued(name)
    if within is not None and before.not_after - now < timedelta(days=within):
        click.echo(_line(authority.issue(name, before.names), now, "renewed"))
    else:
        click.echo(_line(before, now, "kept"))


def _by_holder(also: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for one in also:
        name, equals, host = one.partition("=")
        if name not in HOLDERS or not equals or not host:
            raise click.UsageError(f"--also {one}: one of {', '.join(HOLDERS)}, then = and a host name")
        found[name].append(host)
    return found


def _line(one: Issued, now: datetime, done: str = "") -> str:
    days = (one.not_after - now).days
    left = f"{days} days left" if one.not_after > now else "has ended"
    whose = "" if one.name == AUTHORITY else f" ({', '.join(one.names)})"
    return f"{one.name}{whose}: {f'{done}, ' if done else ''}{left}, until {one.not_after:%Y-%m-%d}"
