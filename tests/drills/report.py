"""The report: one row a drill, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.drills.drill import Result

HEAD = """# Drills

Faults done to the real processes over a real broker and a real PostgreSQL, on one machine; written by
`make drills`. `k of N`: N were tried, k went as promised. Clients are the `openai` package with its own
retries over two edges; each try has an `Idempotency-Key` of its own, by which four sets are joined after
every drill: what the client saw, billing's rows, the ledger, the audit log. The identity: sent = completed
+ error + cancelled; nothing lost, billed twice, billed without generation, or billed beyond delivery but
what its client left; every accepted request once in the log; debits = credits. A text is compared token for
token with what its seed says when nothing goes wrong. **held**: as promised, and the aim met. **short**: the
identity holds, the aim is missed. **BROKEN**: the identity does not hold, or the drill did not come to its
end.
"""


def markdown(results: Sequence[Result], machine: Mapping[str, Any], ends: Sequence[str]) -> str:
    """The whole page."""
    lines = [HEAD]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in machine.items()]
    lines += [f"- {text}" for text in ends]
    lines += ["", "| drill | fault | figure | seconds | anchor | aim | verdict |", "| --- " * 7 + "|"]
    lines += [_row(result) for result in results]
    joined = [f"| {one.drill.id} | {one.account} |" for one in results if one.account and one.account.sent]
    if joined:
        lines += ["", "## The books after each", "", "| drill | joined |", "| --- | --- |", *joined]
    notes = [f"- {one.drill.id}: {note}" for one in results for note in _notes(one)]
    if notes:
        lines += ["", "## Beside the figures", "", *notes]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    drill, figure = result.drill, result.figure
    what = f"{figure.held} of {figure.tried} {figure.what}" if figure else "no figure"
    cells = (
        drill.id,
        drill.fault,
        what,
        figure.seconds if figure else "",
        drill.anchor,
        drill.aim,
        result.verdict,
    )
    return "| " + " | ".join(cells) + " |"


def _notes(result: Result) -> Iterable[str]:
    if result.error:
        yield result.error.replace("\n", " ")[:600]
    if result.figure:
        yield from result.figure.notes
