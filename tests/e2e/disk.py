"""A disk that can be full: a small file system of its own, or where none may be mounted, a limit."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

SIZE = "8m"


class Disk(Protocol):
    """Where a platform keeps its home."""

    path: Path

    def fill(self, process: int) -> None:
        """From now on the process can write no more."""

    def free(self, process: int) -> None:
        """It can again."""


class Mounted:
    """A tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, process: int) -> None:
        """Take all that is left."""
        del process
        with self._ballast.open("wb", buffering=0) as file:
            for size in (65536, 512, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self, process: int) -> None:
        """Give it back."""
        del process
        self._ballast.unlink()


class Limited:
    """Any folder; the kernel refuses to let the process's files grow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, process: int) -> None:
        """No byte beyond the first of any file."""
        self._before = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, self._before[1]))

    def free(self, process: int) -> None:
        """As before."""
        resource.prlimit(process, resource.RLIMIT_FSIZE, self._before)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A disk under the folder."""
    path = folder / "disk"
    path.mkdir()
    if os.geteuid() != 0 or _run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(path)) != 0:
        yield Limited(path)
        return
    try:
        yield Mounted(path)
    finally:
        _run("umount", "--lazy", str(path))


def _run(*command: str) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode
