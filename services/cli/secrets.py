"""`freehold secrets`: what an installation of several processes must keep to itself, made once."""

from __future__ import annotations

import random
from pathlib import Path

import click

from services.audit.keys import PRIVATE, KeyInvalid, keep_key
from services.audit.settings import AuditSettings
from services.cli.session import fail
from shared.errors import FreeholdError, Kind
from shared.files import Files
from shared.host import system_host

MADE = (("pepper", 0o600), ("database-password", 0o640), ("token", 0o600))
"""Names and modes in the order of their making. The database server, which is no user of ours, reads its
password through the folder's group.
"""
AUDIT = "audit"
"""Folder of the log's keys, apart, so that no other service need be given it."""
_BYTES = 32


def make_secrets(files: Files, folder: Path, origin: str, chance: random.Random) -> dict[str, bool]:
    """By file, whether it was made now; what is there is kept. Each secret is 64 hexadecimal digits, the
    log's key in its own form. Blocks.

    Raises `FreeholdError` for a file that holds no secret, and for a missing one while a later one is there:
    it was lost, and a new one would lock out what the old one guards. Raises `OSError`.
    """
    files.make_folder(folder)
    paths = [folder / name for name, _ in MADE] + [folder / AUDIT / PRIVATE]
    there = [files.exists(path) for path in paths]
    for path, found in zip(paths, there, strict=True):
        if found and len(files.read(path).strip()) < 2 * _BYTES:
            raise _lost(path, "holds no secret")
        if not found and any(there[paths.index(path) :]):
            raise _lost(path, "is lost")
    for path, (_, mode), found in zip(paths, MADE, there, strict=False):
        if not found:
            files.write_durably(path, chance.randbytes(_BYTES).hex().encode(), mode)
    try:
        keep_key(files, folder / AUDIT, origin, chance)
    except KeyInvalid as error:
        raise FreeholdError(Kind.NOT_READY, str(error)) from error
    return {str(path.relative_to(folder)): not found for path, found in zip(paths, there, strict=True)}


def _lost(path: Path, what: str) -> FreeholdError:
    return FreeholdError(Kind.NOT_READY, f"{path} {what}; restore it from your backup")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def secrets(folder: Path) -> None:
    """Make an installation's secrets in FOLDER; what is there is kept.

    Token and pepper of the services, the database's password, and in audit/ the key of the
    transparency log with its public half, log.pub. Back the folder up: without the pepper no
    key of a client works, and without the log's key the log ends.
    """
    host = system_host()
    try:
        made = make_secrets(host.files, folder, AuditSettings().origin, host.random)
    except FreeholdError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror or error}")
    for name, new in made.items():
        click.echo(f"{folder / name}: {'made' if new else 'kept'}")
