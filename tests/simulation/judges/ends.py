"""Every request ends, once, in time, the same for everybody; and nothing is left of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from services.edge.owner.owner import Owner
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from tests.simulation.clients import View
from tests.simulation.judges.evidence import Case, Evidence

SLACK_S = 2.0
STATES = {
    outcome.TERMINAL_STATE_COMPLETED: "completed",
    outcome.TERMINAL_STATE_REFUSED: "refused",
    outcome.TERMINAL_STATE_FAILED: "failed",
    outcome.TERMINAL_STATE_CANCELLED: "cancelled",
    outcome.TERMINAL_STATE_EXPIRED: "expired",
}
NO_ROOM = (Kind.RATE, Kind.OVERLOADED)
EXPECTED_REFUSALS = (Kind.POLICY, Kind.BUDGET, Kind.REPEATED, Kind.REPEATED_OTHERWISE)


def judge_ends(evidence: Evidence) -> Iterator[str]:
    """States, times, leaks, and errors that nobody handled."""
    for failure in evidence.world.loop.failures:
        yield f"an error that nobody handled: {failure}"
    for text in evidence.world.complaints:
        yield f"logged: {text}"
    for view in evidence.views:
        yield from _in_time(evidence, view)
        if not evidence.plan.faults:
            yield from _undisturbed(view)
    for case in evidence.cases.values():
        yield from _one_end(case)
    yield from _leaks(evidence)


def _in_time(evidence: Evidence, view: View) -> Iterator[str]:
    if view.ended is None or view.left:
        return
    stopped = sum(
        fault.seconds
        for fault in evidence.plan.faults
        if fault.kind == "stop" and fault.target == f"edge-{view.ask.edge}"
    )
    most = view.ask.deadline_s + stopped + 2 * view.ask.reads_every + SLACK_S
    if view.ended - view.began > most:
        yield f"client {view.ask.number} waited {view.ended - view.began:.1f} s, above {most:.1f}"
    if view.outcomes != 1:
        yield f"client {view.ask.number} was told {view.outcomes} ends"


def _undisturbed(view: View) -> Iterator[str]:
    """Without a fault every request ends as it has to."""
    who = f"client {view.ask.number}, without any fault,"
    if view.unreachable or view.refused is not None:
        if view.refused is None or view.refused.kind not in NO_ROOM:
            yield f"{who} was not taken: {view.refused}"
    elif view.outcome is not None and not view.left:
        state, error = view.outcome.state, view.outcome.error
        if state == outcome.TERMINAL_STATE_REFUSED and error is not None and error.kind in EXPECTED_REFUSALS:
            return
        if state == outcome.TERMINAL_STATE_EXPIRED and view.ask.deadline_s < 60:
            return
        if state != outcome.TERMINAL_STATE_COMPLETED:
            yield f"{who} ended {STATES.get(state, state)}: {error}"


def _one_end(case: Case) -> Iterator[str]:
    view, closes = case.view, case.closes
    if view is None:
        yield f"{case.who}: nobody asked for it"
        return
    if any(close != closes[0] for close in closes[1:]):
        yield f"{case.who}: closed in different ways"
    if view.owned and not closes:
        yield f"{case.who}: its owner never closed it"
    if view.owned and closes and case.leaves and case.leaves[0]["owner_lost"]:
        yield f"{case.who}: settled as if its owner were lost"
    if case.row is None and (view.owned or closes):
        yield f"{case.who}: billing has no row"
    if case.row is not None and case.row.state != "settled":
        yield f"{case.who}: the row is {case.row.state}"
    if (case.row is not None) != (len(case.leaves) == 1):
        yield f"{case.who}: {len(case.leaves)} leaves in the log"
    if closes and not view.lost:
        yield from _same_state(case, view)
        yield from _same_text(case, view)


def _same_state(case: Case, view: View) -> Iterator[str]:
    told = view.outcome.state if view.outcome else outcome.TERMINAL_STATE_CANCELLED
    if view.left and told == outcome.TERMINAL_STATE_COMPLETED and not view.ask.streamed:
        told = outcome.TERMINAL_STATE_CANCELLED  # it left before the body was out
    closed = case.closes[0].state
    if told != closed:
        yield f"{case.who}: told {STATES.get(told, told)}, closed {STATES.get(closed, closed)}"
    for leaf in case.leaves:
        if leaf["state"] != STATES.get(closed):
            yield f"{case.who}: closed {STATES.get(closed)}, in the log {leaf['state']}"


def _same_text(case: Case, view: View) -> Iterator[str]:
    closed = case.closes[0]
    out = view.ask.streamed or closed.state == outcome.TERMINAL_STATE_COMPLETED
    delivered = sum(choice.delivered for attempt in closed.attempts for choice in attempt.choices)
    read = sum(view.tokens(choice) for choice in range(view.ask.choices)) if out else 0
    if delivered != read and not view.left:
        yield f"{case.who}: {read} tokens read, closed with {delivered} delivered"
    if not out and delivered:
        yield f"{case.who}: {delivered} tokens delivered of an answer that never went out"
    if delivered < read:
        yield f"{case.who}: {read} tokens read, only {delivered} said to be delivered"
    texts = b"".join((view.text(n) if out else "").encode() + b"\0" for n in range(view.ask.choices))
    if closed.answer_hash != hashlib.sha256(texts).digest() and not view.left:
        yield f"{case.who}: the answer's hash is not that of what was read"


def _leaks(evidence: Evidence) -> Iterator[str]:
    for name, parts in evidence.world.parts.items():
        service = parts.service
        if isinstance(service, Owner):
            if any(service._admission.held):
                yield f"{name}: {service._admission.held} requests, bytes and tokens are counted in for ever"
            for seat in service._dispatcher._seats._seats.values():
                if seat.my_slots or seat.my_cells:
                    yield f"{name}: {seat.my_slots} slots and {seat.my_cells} cells are held for nobody"
            if service._dispatcher.waiting:
                yield f"{name}: {service._dispatcher.waiting} requests wait for ever"
        plant = getattr(service, "_plant", None)
        if plant is not None:
            admission = plant.generation.admission
            if admission.taken or admission.reserved:
                yield f"{name}: {admission.taken} slots and {admission.reserved} cells are taken for ever"
