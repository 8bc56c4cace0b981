"""Check what no linter does: sizes of files and functions, and names that say nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
VAGUE = {"utils.py", "helpers.py", "common.py", "manager.py", "base.py", "misc.py"}
GENERATED = ROOT / "shared" / "contracts" / "freehold"


def complaints(path: Path) -> list[str]:
    """What is wrong with one file, as `path:line: why`."""
    source = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    found = [f"{name}:1: the name says nothing"] if path.name in VAGUE else []
    lines = source.count("\n")
    if lines > MAX_FILE_LINES:
        found.append(f"{name}:1: {lines} lines, at most {MAX_FILE_LINES}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(f"{name}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}")
    return found


def main() -> None:
    """Entry point."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True)
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    found = [text for path in paths if path.exists() and GENERATED not in path.parents for text in complaints(path)]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
