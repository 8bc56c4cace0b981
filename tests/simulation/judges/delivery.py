"""What clients read: whole, in order, vetted, and of the engine's own words alone."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.simulation import cast
from tests.simulation.clients import View
from tests.simulation.judges.evidence import Case, Evidence

STEPS_TO_STOP_S = 0.6
"""After a client has left, undisturbed, its worker has stopped."""


def judge_delivery(evidence: Evidence) -> Iterator[str]:
    """Text, ids, verdicts, cancellation, and what was shared between tenants."""
    truth = evidence.world.truth
    yield from dict.fromkeys(truth.shared)
    for case in evidence.cases.values():
        if case.view is not None:
            for choice in range(case.view.ask.choices):
                yield from _attempts(case, case.view, choice, truth)
                yield from _text(case, case.view, choice, truth)
            yield from _judged(case.view)
            yield from _verdict(case, case.view, truth)
            if not evidence.plan.faults and case.view.left:
                yield from _stops(evidence, case, case.view)
        yield from _work(case)


def _prefix(case: Case, attempt: int, choice: int) -> list[int] | None:
    """Ids that the choice had when the attempt was sent; None where it had ended before."""
    return next((list(one.ids) for one in case.works[attempt][1].choices if one.choice == choice), None)


def _attempts(case: Case, view: View, choice: int, truth: cast.Truth) -> Iterator[str]:
    """Each attempt goes on from a part of what the one before had, and the first says what its seed says."""
    had: list[int] = []
    for number in sorted(case.works):
        prefix = _prefix(case, number, choice)
        if prefix is None:
            continue
        if prefix != had[: len(prefix)]:
            yield f"{case.who}: attempt {number} goes on from {_read(prefix)!r}, of {_read(had)!r}"
        ids = truth.ids.get((case.request, number, choice), [])
        if ids and truth.starts[case.request, number, choice] != len(prefix):
            yield f"{case.who}: attempt {number} begins at another index than its prefix ends"
        if number == 1 and _read(ids) != cast.spoken(view.ask.seed, choice, len(ids)):
            yield f"{case.who}: the engine said {_read(ids)!r} against its seed"
        had = prefix + ids


def _read(ids: list[int]) -> str:
    return b"".join(cast.vocabulary().pieces[token] for token in ids).decode()


def _pieces(words: list[str]) -> tuple[list[str], bool]:
    """The text of each id as it may be read, and whether a refusal ends it."""
    found: list[str] = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if (word, following) == cast.REFUSED:
            return found, True
        if found and found[-1] == f" {cast.LABEL}" and word == cast.REDACTED[1]:
            found.append("")
        elif (word, following) == cast.REDACTED:
            found.append(f" {cast.LABEL}")
        else:
            found.append(f" {word}")
    return found, False


def _may_read(case: Case, choice: int, truth: cast.Truth) -> tuple[list[str], bool]:
    """As `_pieces`, over all attempts: what one of them had out when it was cut off stays as it was, and of a
    match that another's words make with it the rest is left out.
    """
    pieces: list[str] = []
    refused = False
    for number in sorted(case.works):
        prefix = _prefix(case, number, choice)
        if prefix is not None:
            chain = prefix + truth.ids.get((case.request, number, choice), [])
            found, refused = _pieces(_read(chain).split(" ")[1:])
            pieces[len(prefix) :] = found[len(prefix) :]
    return pieces, refused


def _text(case: Case, view: View, choice: int, truth: cast.Truth) -> Iterator[str]:
    read, tokens = view.text(choice), view.tokens(choice)
    pieces, refused = _may_read(case, choice, truth)
    who = f"{case.who}, choice {choice}"
    if read != "".join(pieces[:tokens]) or tokens > len(pieces):
        yield f"{who}: read {tokens} ids as {read!r}, may read {''.join(pieces[:tokens])!r}"
    if view.outcome is None or view.outcome.state != outcome.TERMINAL_STATE_COMPLETED or view.left:
        return
    if refused:
        yield f"{who}: completed, and its whole answer is refused"
    elif tokens != view.ask.most:
        yield f"{who}: completed with {tokens} of {view.ask.most} ids"


def _judged(view: View) -> Iterator[str]:
    """What is answered was judged, and says under which policy."""
    told = view.outcome
    if told is None or view.left or told.state != outcome.TERMINAL_STATE_COMPLETED:
        return
    if " ".join(cast.REFUSED) in view.ask.text:
        yield f"client {view.ask.number}: a prompt that is refused was answered"
    if told.policy_versions != (cast.pack_version(),):
        yield f"client {view.ask.number}: judged under {told.policy_versions}"


def _verdict(case: Case, view: View, truth: cast.Truth) -> Iterator[str]:
    """The verdict that an answer names is the one that it got, whoever judged its parts."""
    told = view.outcome
    if told is None or view.left or told.state != outcome.TERMINAL_STATE_COMPLETED:
        return
    pieces = [
        piece
        for choice in range(view.ask.choices)
        for piece in _may_read(case, choice, truth)[0][: view.tokens(choice)]
    ]
    redacts = " ".join(cast.REDACTED) in view.ask.text or not {"", f" {cast.LABEL}"}.isdisjoint(pieces)
    wanted = outcome.VERDICT_REDACT if redacts else outcome.VERDICT_ALLOW
    if told.verdict != wanted:
        yield f"client {view.ask.number}: the verdict is {told.verdict}, not {wanted}"


def _work(case: Case) -> Iterator[str]:
    pieces = cast.vocabulary().pieces
    for number, (_, work) in case.works.items():
        prompt = b"".join(pieces[token] for token in work.prompt_ids)
        for words in (cast.REFUSED, cast.REDACTED):
            if " ".join(words).encode() in prompt:
                yield f"{case.who}: attempt {number} was given {prompt!r}"


def _stops(evidence: Evidence, case: Case, view: View) -> Iterator[str]:
    pace = evidence.world.shape.pace
    drawn = sum(evidence.world.truth.drawn(case.request, number) for number in case.works)
    until = (view.ended or 0.0) - view.began + STEPS_TO_STOP_S
    if drawn > until * pace * view.ask.choices + 8:
        yield f"{case.who}: left after {until - STEPS_TO_STOP_S:.2f} s, and {drawn} ids were generated"
