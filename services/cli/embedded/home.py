"""The folder of the embedded mode: one lock, the secrets, the databases, the address of the process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import tempfile
from pathlib import Path

from shared.errors import FreeholdError, Kind
from shared.files import Files

MAX_SOCKET_PATH = 100
"""Bytes of a Unix socket's path; the kernel takes 107."""


class Home:
    """Paths under `FREEHOLD_HOME`. Secrets have mode 600."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path.absolute()
        self._files = files
        self.lock = self.path / "lock"
        self.demo = self.path / "demo.env"
        self.token = self.path / "secrets" / "token"
        self._lock_handle: int | None = None

    @property
    def address(self) -> str:
        """Where the process listens for the command line: a Unix socket in the folder, or, where its
        path is too long for a socket, in the system's temporary folder.
        """
        socket = self.path / "rpc.sock"
        if len(os.fsencode(socket)) <= MAX_SOCKET_PATH:
            return f"unix:{socket}"
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return f"unix:{tempfile.gettempdir()}/freehold-{name}.sock"

    def open(self) -> None:
        """Make the folder and take its lock. Raises `FreeholdError` where another process has it."""
        try:
            for folder in (self.path, self.path / "secrets"):
                self._files.make_folder(folder)
            self._lock_handle = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise FreeholdError(
                Kind.NOT_READY,
                f"{self.path} is in use by another Freehold process; stop it or set FREEHOLD_HOME",
            ) from None
        except OSError as error:
            raise FreeholdError(
                Kind.NOT_READY,
                f"{error.filename or self.path}: {error.strerror}; FREEHOLD_HOME is to be a folder of yours",
            ) from error

    def close(self) -> None:
        """Give the lock back."""
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None

    @property
    def _socket(self) -> Path:
        return Path(self.address.removeprefix("unix:"))

    def clear_socket(self) -> None:
        """Remove what a killed process left; the lock says that nobody listens there."""
        self._socket.unlink(missing_ok=True)

    def protect_socket(self) -> None:
        """Let only this user connect."""
        self._socket.chmod(0o600)

    def secret(self, name: str, chance: random.Random, guards: str = "") -> bytes:
        """32 random bytes in hexadecimal, made when first asked for. Raises `FreeholdError` where they are
        lost: the file empty, or gone while the file `guards`, which is worth nothing without them, is there.
        """
        path = self.path / "secrets" / name
        if not self._files.exists(path):
            if guards and self._files.exists(self.path / guards):
                raise FreeholdError(Kind.NOT_READY, f"{path} is lost; restore it from your backup")
            self._files.write_durably(path, chance.randbytes(32).hex().encode(), mode=0o600)
        found = self._files.read(path).strip()
        if len(found) < 32:
            raise FreeholdError(Kind.NOT_READY, f"{path} holds no secret; restore it from your backup")
        return found

    def write_demo(self, values: dict[str, str]) -> None:
        """Keep the demo's settings, for shells and for `freehold demo`."""
        text = "".join(f"{name}={value}\n" for name, value in values.items())
        self._files.write_durably(self.demo, text.encode(), mode=0o600)

    def read_demo(self) -> dict[str, str]:
        """The demo's settings; empty where there are none."""
        if not self._files.exists(self.demo):
            return {}
        lines = self._files.read(self.demo).decode().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
