"""What was billed, by the table in proto/README.md, section 4, from what engines really drew."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO, ACCEPTED_UNKNOWN, RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.simulation import cast
from tests.simulation.judges.evidence import Case, Evidence

USAGE_WAIT_MS = 30_000


def judge_money(evidence: Evidence) -> Iterator[str]:
    """Usages, charges, prices told, and keys that repeat."""
    for case in evidence.cases.values():
        yield from _usages(evidence, case)
        if case.settlement is not None and case.closes and case.row is not None:
            yield from _charge(case)
        elif case.settlement is not None and case.settlement.total:
            yield f"{case.who}: billed {case.settlement.total} without a close"
    yield from _repeats(evidence)


def _usages(evidence: Evidence, case: Case) -> Iterator[str]:
    alive = {
        parts.platform.host.incarnation for parts in evidence.world.parts.values() if parts.process.alive
    }
    for number, copies in case.usages.items():
        first = copies[0][1]
        if any(copy != first for _, copy in copies):
            yield f"{case.who}: attempt {number} has different usages"
        counted = sum(choice.generated for choice in first.choices)
        drawn = evidence.world.truth.drawn(case.request, number)
        if counted != drawn:
            yield f"{case.who}: attempt {number} counted {counted} ids, its engine drew {drawn}"
    for number, (worker, _) in case.works.items():
        ran = evidence.world.truth.drawn(case.request, number) > 0
        if ran and worker in alive and number not in case.usages:
            yield f"{case.who}: attempt {number} was generated and never counted"


def _charge(case: Case) -> Iterator[str]:
    closed, entry, row = case.closes[0], case.settlement, case.row
    if row.owner_lost:
        if entry.total:
            yield f"{case.who}: its owner was lost, and {entry.total} is billed"
        return
    used = {one["attempt"] for one in case.leaves[0]["usages"]} if case.leaves else set()
    usages = {number: copies[0][1] for number, copies in case.usages.items() if number in used}
    for number in _wanted(closed) - used:
        times = [at for at, _ in case.usages.get(number, ())]
        if times and min(times) < case.closed_ms + USAGE_WAIT_MS:
            yield f"{case.who}: the usage of attempt {number} came in time and was not counted"
    prompt, cached, billed = owed(closed, usages)
    total = _line(prompt - cached, "prompt") + _line(cached, "cached") + _line(billed, "output")
    if total > row.reserved:
        yield f"{case.who}: owes {total}, above the {row.reserved} that were reserved"
    if (entry.billed, entry.total) != (billed, total) or row.billed != total:
        yield (
            f"{case.who}: {entry.billed} ids and {entry.total} were billed (row {row.billed}),"
            f" by the table {billed} and {total}"
        )
    view = case.view
    if view is None or view.outcome is None or view.left or view.lost:
        return
    if view.outcome.state == outcome.TERMINAL_STATE_COMPLETED and view.outcome.price != entry.total:
        yield f"{case.who}: told a price of {view.outcome.price}, billed {entry.total}"


def _wanted(closed: RequestClosed) -> set[int]:
    return {attempt.attempt for attempt in closed.attempts if attempt.accepted != ACCEPTED_NO}


def owed(closed: RequestClosed, usages: dict[int, UsageRecorded]) -> tuple[int, int, int]:
    """Prompt tokens, those of them cached, and output ids that are billed."""
    counted = [
        attempt
        for attempt in sorted(closed.attempts, key=lambda one: one.attempt)
        if attempt.accepted != ACCEPTED_NO
        and not (attempt.accepted == ACCEPTED_UNKNOWN and attempt.attempt not in usages)
    ]
    delivered: dict[int, int] = {}
    chain: dict[int, int] = {}
    for attempt in closed.attempts:
        for choice in attempt.choices:
            delivered[choice.choice] = delivered.get(choice.choice, 0) + choice.delivered
    for attempt in counted:
        usage = usages.get(attempt.attempt)
        generated = {one.choice: one.generated for one in usage.choices} if usage else {}
        for choice in attempt.choices:
            number = choice.choice
            chain[number] = choice.from_index + generated.get(number, 0) if usage else delivered[number]
    early = closed.state in (outcome.TERMINAL_STATE_CANCELLED, outcome.TERMINAL_STATE_EXPIRED)
    served = closed.state in (outcome.TERMINAL_STATE_COMPLETED, outcome.TERMINAL_STATE_REFUSED)
    if not counted or not (early or served):
        return 0, 0, 0
    last = next((u for a in reversed(counted) if (u := usages.get(a.attempt)) and u.prompt), None)
    ids = sum(chain.values()) if early else sum(min(n, chain.get(c, 0)) for c, n in delivered.items())
    return (last.prompt, last.cached, ids) if last else (0, 0, ids)


def _line(tokens: int, kind: str) -> int:
    return int(tokens * cast.PRICES[kind] / 1000 + 0.5)


def _repeats(evidence: Evidence) -> Iterator[str]:
    first: dict[tuple[str, str], str] = {}
    for case in evidence.cases.values():
        view, row = case.view, case.row
        if view is None or row is None or not view.ask.idempotency or row.reserved_ms is None:
            continue
        if row.refusal is None:
            key = (view.project, view.ask.idempotency)
            if key in first:
                yield f"{case.who} and {first[key]} were both taken under one idempotency key"
            first[key] = case.who
        elif row.refusal == "REPEATED" and not row.first_request:
            yield f"{case.who}: refused as a repetition of nothing"
