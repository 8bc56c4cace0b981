"""Certificates as `freehold certs` makes them, good ones and bad ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.cli.authority import CA, HOLDERS, IDENTITY, LIFE, Authority
from shared.files import SystemFiles
from shared.rpc.identity import Identity
from shared.tls import TlsFiles


class House:
    """One installation's folder of certificates."""

    def __init__(self, folder: Path, names: Iterable[str] = HOLDERS, hosts: Iterable[str] = ()) -> None:
        self.folder = folder
        self._hosts = tuple(hosts)
        self._authority().found()
        for name in names:
            self.renew(name)

    def renew(self, name: str) -> None:
        """A new key and certificate in place of the old."""
        self._authority().issue(name, self._hosts)

    def expire(self, name: str) -> None:
        """Put one there that ended a minute ago."""
        self._authority(LIFE + timedelta(minutes=1)).issue(name, self._hosts)

    def authority(self) -> Authority:
        """As the command works on it."""
        return self._authority()

    def files(self, name: str) -> TlsFiles:
        """What the process of that name is given."""
        return TlsFiles(self.folder / name / CA, self.folder / name / IDENTITY)

    def identity(self, name: str) -> Identity:
        """Who that process is."""
        return Identity(self.files(name))

    def environment(self, name: str) -> dict[str, str]:
        """For a process of its own."""
        ca, certificate, _ = self.files(name)
        return {"FREEHOLD_TLS_CA": str(ca), "FREEHOLD_TLS_CERTIFICATE": str(certificate)}

    def _authority(self, ago: timedelta = timedelta()) -> Authority:
        return Authority(SystemFiles(), self.folder, datetime.now(UTC) - ago)


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What others make of them."""
    return subprocess.run(
        ["openssl", *arguments], input="", capture_output=True, text=True, timeout=60, check=False
    )
