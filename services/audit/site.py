"""The log's static files, as C2SP tlog-tiles names them: any web server or USB stick can serve the folder.

They are made from the database: where the folder is missing, or holds an older checkpoint, the next start
writes what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from services.audit.tlog.tiles import WIDTH, Tile, bundle_path, encode_bundle, tile_path
from shared.files import Files

CHECKPOINT = "checkpoint"
_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


class Part(NamedTuple):
    """A tile, and where it is of level 0 the entries below it."""

    tile: Tile
    hashes: bytes
    entries: list[bytes]


class Site:
    """The folder. All methods block and may raise `OSError`."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._made: set[Path] = set()

    def write_parts(self, parts: Iterable[Part]) -> None:
        """Write tiles and bundles durably. Where a tile is full, its partial forms go: the specification
        allows it from that moment on.
        """
        for part in parts:
            names = [(tile_path(part.tile), part.hashes)]
            if part.tile.level == 0:
                names.insert(0, (bundle_path(part.tile.number, part.tile.width), encode_bundle(part.entries)))
            for name, content in names:
                self._write(self._folder / name, content)
                if part.tile.width == WIDTH:
                    partial = self._folder / f"{name}.p"
                    self._files.remove_folder(partial)
                    self._made.discard(partial)

    def show(self, note: str) -> None:
        """Make a checkpoint the one that readers find; all its tiles must have been written."""
        self._write(self._folder / CHECKPOINT, note.encode())

    def shown(self) -> str:
        """The checkpoint that readers find; empty where there is none."""
        path = self._folder / CHECKPOINT
        return self._files.read(path).decode() if self._files.exists(path) else ""

    def _write(self, path: Path, content: bytes) -> None:
        if path.parent not in self._made:
            self._files.make_folder(path.parent, _FOLDER_MODE)
            self._made.add(path.parent)
        self._files.write_durably(path, content, _FILE_MODE)
