"""Each row of the attack checklist has a test, or says why it has none."""

from __future__ import annotations

from pathlib import Path

from ops.attack_map import PAGE, faults, marked, page, read_rows


def test_every_row_is_shown_or_says_why_not_and_the_page_is_up_to_date() -> None:
    rows, tests = read_rows(), marked(PAGE.parent)
    assert list(rows) == list(range(1, 47))
    assert faults(rows, tests) == []
    assert page(rows, tests) == PAGE.read_text(encoding="utf-8")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "@pytest.mark.attack(1, 3)\ndef test_a(): ...\n\ndef test_b(): ...\n"
    )
    tests = marked(tmp_path)
    assert tests == {1: [("test_one.py", "test_a")], 3: [("test_one.py", "test_a")]}
    rows = {1: {"attack": "a", "answer": "b", "later": "not yet"}, 2: {"attack": "c", "answer": "d"}}
    assert faults(rows, tests) == [
        "row 2 has neither a test nor a reason",
        "row 1 has tests and says why it has none",
        "there is no row 3: [('test_one.py', 'test_a')]",
    ]
