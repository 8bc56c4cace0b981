"""The books by their own check, and everything that should have stayed empty."""

from __future__ import annotations

from collections.abc import Iterator

from services.billing.books.verify import verify
from tests.simulation.judges.evidence import Evidence

EMPTY = (("billing", "parked"), ("audit", "parked"), ("billing", "outbox"), ("control", "outbox"))


def judge_books(evidence: Evidence) -> Iterator[str]:
    """Double entry, budgets, numbers without gap; nothing parked, nothing dead-lettered."""
    for check in evidence.world.disks["billing"].work(lambda connection: verify(connection, ""), write=False):
        for violation in check.violations:
            yield f"{check.name}: {violation}"
    for disk, table in EMPTY:
        for row in evidence.rows(disk, f"SELECT * FROM {table}"):  # noqa: S608 - names from above
            yield f"{disk}.{table} holds {row}"
    for record in evidence.world.broker.records("dlq"):
        found = dict(record.headers)
        yield f"dead-lettered: {found.get('type')!r} of {found.get('origin')!r}: {found.get('reason')!r}"
    for row in evidence.rows("billing", "SELECT budget, spent, reserved, cap FROM budgets"):
        if row.reserved:
            yield f"budget {row.budget}: {row.reserved} is reserved for ever"
    yield from _configuration(evidence)
    kinds: dict[tuple[str, str], int] = {}
    for case in evidence.cases.values():
        for entry in case.entries:
            kinds[case.request, entry.kind] = kinds.get((case.request, entry.kind), 0) + 1
    for (request, kind), count in kinds.items():
        if count > 1:
            yield f"request {request} has {count} entries of kind {kind}"


def _configuration(evidence: Evidence) -> Iterator[str]:
    """Every process knows what control has stored."""
    for stored in evidence.rows("control", "SELECT kind, id, value FROM configuration_values"):
        for name, parts in evidence.world.parts.items():
            plural = "policies" if stored.kind == "policy" else f"{stored.kind}s"
            known = getattr(parts.platform.configuration, plural).get(stored.id)
            if known is None or known.SerializeToString(deterministic=True) != stored.value:
                yield f"{name} knows another {stored.kind} {stored.id} than control has stored"
