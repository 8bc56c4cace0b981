"""The file system, given to the code so that a simulator may fail it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Whole-file access. Every method may raise `OSError`; all of them block."""

    def read(self, path: Path) -> bytes:
        """The file's content. Raises `FileNotFoundError`."""

    def exists(self, path: Path) -> bool:
        """Whether a file or folder is there."""

    def make_folder(self, path: Path, mode: int = 0o700) -> None:
        """Make the folder and its parents where they are missing."""

    def write_durably(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Replace the file atomically: after a crash it holds the old or the new content, whole.

        On return the content and its name are on disk.
        """

    def free_bytes(self, path: Path) -> int:
        """What may still be written to the disk of a folder, of which some parent is there. Quick."""

    def remove_folder(self, path: Path) -> None:
        """Remove a folder and all in it; nothing where it is missing. Need not be durable on return."""


class SystemFiles:
    """The machine's own file system."""

    __slots__ = ()

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def exists(self, path: Path) -> bool:
        return path.exists()

    def make_folder(self, path: Path, mode: int = 0o700) -> None:
        path.mkdir(mode=mode, parents=True, exist_ok=True)

    def write_durably(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        part = path.with_name(f".{path.name}.part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def free_bytes(self, path: Path) -> int:
        while not path.exists() and path != path.parent:
            path = path.parent
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def remove_folder(self, path: Path) -> None:
        if path.exists():
            shutil.rmtree(path)
