"""Write `tests/attacks.md`: each row of the attack checklist, the answer, and the tests that show it.

The words are in `tests/attacks.yaml`; tests say which rows they are of by `@pytest.mark.attack(ROW, …)`.
`--check` fails where the page is not as it would be written, or a row has neither a test nor a reason.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "tests" / "attacks.yaml"
PAGE = ROOT / "tests" / "attacks.md"
HEAD = """# Attacks

What is tried, what the platform answers, and the tests that show it. Made from
[attacks.yaml](attacks.yaml) and the tests' marks by `python -m ops.attack_map`;
`make check` fails where it is not up to date.
"""

Tests = Mapping[int, list[tuple[str, str]]]
"""By row: file, relative to `tests`, and function."""


def marked(folder: Path) -> Tests:
    """The tests of each row, in the order of their files and lines."""
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for row in _rows(node.decorator_list):
                    found[row].append((path.relative_to(folder).as_posix(), node.name))
    return found


def _rows(decorators: list[ast.expr]) -> Iterator[int]:
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.attack":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def faults(rows: Mapping[int, Mapping[str, str]], tests: Tests) -> list[str]:
    """What is wrong with the checklist, in words."""
    found = [f"row {row} has neither a test nor a reason" for row in rows if not _shown(rows, tests, row)]
    found += [
        f"row {row} has tests and says why it has none"
        for row in rows
        if row in tests and "later" in rows[row]
    ]
    return found + [f"there is no row {row}: {where}" for row, where in tests.items() if row not in rows]


def _shown(rows: Mapping[int, Mapping[str, str]], tests: Tests, row: int) -> bool:
    return row in tests or "later" in rows[row]


def page(rows: Mapping[int, Mapping[str, str]], tests: Tests) -> str:
    """The page's text."""
    lines = [HEAD, "| row | attack | answer | tests |", "| --- | --- | --- | --- |"]
    for number, row in rows.items():
        shown = _listed(tests.get(number, [])) or f"none: {row['later']}"
        lines.append(f"| {number} | {row['attack']} | {row['answer']} | {shown} |")
    return "\n".join([*lines, ""])


def _listed(tests: list[tuple[str, str]]) -> str:
    files: dict[str, list[str]] = defaultdict(list)
    for file, name in tests:
        files[file].append(f"`{name}`")
    return "; ".join(f"[{file}]({file}): {', '.join(names)}" for file, names in files.items())


def read_rows() -> dict[int, dict[str, str]]:
    """The checklist."""
    rows: Any = yaml.safe_load(ROWS.read_text(encoding="utf-8"))
    return dict(rows)


def main() -> None:
    """Entry point."""
    rows, tests = read_rows(), marked(PAGE.parent)
    if found := faults(rows, tests):
        sys.exit("\n".join(found))
    text = page(rows, tests)
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("tests/attacks.md is out of date; write it by `python -m ops.attack_map`")


if __name__ == "__main__":
    main()
