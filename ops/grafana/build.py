"""Write the dashboards: `python -m ops.grafana.build`; with `--check`, say which are not fresh."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ops.grafana.hardware import HARDWARE
from ops.grafana.money import MONEY
from ops.grafana.panels import Board, build
from ops.grafana.safety import SAFETY
from ops.grafana.service import SERVICE
from ops.grafana.trust import TRUST

FOLDER = Path(__file__).parent / "dashboards"
BOARDS: tuple[Board, ...] = (SERVICE, MONEY, SAFETY, TRUST, HARDWARE)


def text_of(board: Board) -> str:
    """The file's content."""
    return json.dumps(build(board), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def path_of(board: Board) -> Path:
    """Where it lies."""
    return FOLDER / f"{board.name}.json"


def stale() -> list[str]:
    """Files that are not what their builder writes, and files that have none."""
    expected = {path_of(board): text_of(board) for board in BOARDS}
    found = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return [path.name for path in sorted({*expected, *found}) if expected.get(path) != found.get(path)]


def main() -> None:
    """Entry point."""
    if sys.argv[1:] == ["--check"]:
        if names := stale():
            sys.exit(f"not fresh, run `python -m ops.grafana.build`: {', '.join(names)}")
        return
    for board in BOARDS:
        path_of(board).write_text(text_of(board), encoding="utf-8")


if __name__ == "__main__":
    main()
