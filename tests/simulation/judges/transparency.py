"""The transparency log, computed again from its entries by RFC 6962 alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

from tests.simulation.assembly import AUDIT_FOLDER
from tests.simulation.judges.evidence import Evidence


def judge_log(evidence: Evidence) -> Iterator[str]:
    """The root that was signed and shown, numbers without gap, and no leaf twice."""
    leaves = evidence.rows("audit", "SELECT * FROM leaves ORDER BY number")
    head = evidence.rows("audit", "SELECT size, checkpoint FROM head")[0]
    if [leaf.number for leaf in leaves] != list(range(head.size)):
        yield f"the log says {head.size} and has leaves {[leaf.number for leaf in leaves]}"
    lines = head.checkpoint.split("\n")
    if len(lines) < 3 or int(lines[1]) != head.size:
        yield f"the last checkpoint is not of {head.size} leaves: {head.checkpoint!r}"
    elif base64.b64decode(lines[2]) != root([leaf.entry for leaf in leaves]):
        yield "the signed root is not that of the entries"
    shown = evidence.world.files["audit"].read(AUDIT_FOLDER / "log" / "checkpoint").decode()
    if shown != head.checkpoint:
        yield "the checkpoint that is shown is not the one that was signed last"
    streams: dict[str, list[int]] = {}
    for leaf in leaves:
        streams.setdefault(leaf.stream, []).append(leaf.seq)
    for stream, numbers in streams.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            yield f"the stream {stream} has the numbers {sorted(numbers)}"


def root(entries: Sequence[bytes]) -> bytes:
    """Merkle tree hash."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return hashlib.sha256(b"\1" + root(entries[:split]) + root(entries[split:])).digest()
