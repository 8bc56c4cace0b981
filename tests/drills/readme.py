"""The table *What happens when* of README.md: rows are written here, figures come from the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.drills.drill import Result

BEGIN, END = "<!-- written by make drills -->\n", "<!-- until here -->\n"


class Row(NamedTuple):
    """One fault, as a user meets it."""

    what: str
    sees: str
    billed: str


ROWS: Mapping[str, Row] = {
    "F1": Row(
        "a worker is killed in mid-answer",
        "a pause; the answer goes on elsewhere, no token lost or repeated",
        "once, what was delivered",
    ),
    "F3 edge": Row(
        "an edge is killed",
        "its streams break off; the client's own retry of the rest is answered by the other",
        "nothing for what broke off",
    ),
    "F3 tokenizer": Row("a tokenizer is killed", "a pause", "once"),
    "F3 moderation": Row("a moderation is killed", "a pause; text is vetted from where it stood", "once"),
    "F3 billing": Row("a billing is killed", "a pause", "once"),
    "F4": Row("everything is restarted, one by one", "nothing", "once"),
    "owner stopped": Row("an edge hangs for half a minute", "its answers wait, then go on", "once"),
    "F6 60 s": Row(
        "the broker is away for a minute",
        "streams wait and go on; new requests are told 503",
        "once; nothing for a 503",
    ),
    "control down": Row("control is away", "nothing; keys and prices cannot be changed", "once"),
    "F14": Row("the database is away", "503 within 20 s", "nothing: nothing is served unmetered"),
    "F22": Row("no moderation runs", "no text; it goes on when one is back", "once, what was delivered"),
    "F18": Row("the client leaves", "–", "the tokens that exist by then"),
    "F20": Row("200 requests, money for ten", "429 `insufficient_quota`", "never above the budget"),
    "F21": Row("one idempotency key 50 times", "one answer; 409; 422 with another body", "once"),
    "F27": Row("five times the load", "429 or 503 with `Retry-After`", "what is answered"),
    "F16": Row("a disk is full", "503 until there is space", "nothing"),
    "F26": Row("somebody edits the log", "its receipts and the root stop agreeing", "–"),
}


def table(results: Sequence[Result]) -> str:
    """In Markdown, of the drills that came to a figure."""
    lines = ["| what happens | what a user sees | what is billed | as drilled |", "| --- " * 4 + "|"]
    by_id = {one.drill.id: one for one in results}
    for name, row in ROWS.items():
        if (found := by_id.get(name)) is None or found.figure is None:
            continue
        figure = found.figure
        seconds = f"; seconds: {figure.seconds}" if figure.seconds else ""
        drilled = f"{figure.held} of {figure.tried} {figure.what}{seconds}"
        lines.append(f"| {row.what} | {row.sees} | {row.billed} | {drilled} |")
    return "\n".join(lines) + "\n"


def rewrite(path: Path, results: Sequence[Result]) -> None:
    """Put the table into the page, between its two marks."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")
