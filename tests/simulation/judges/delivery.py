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
    yield from dict.fromkeys(evidence.world.shared)
    for view in evidence.views:
        for choice in range(view.ask.choices):
            yield from _text(view, choice)
        yield from _judged(view)
        yield from _verdict(view)
    for case in evidence.cases.values():
        yield from _work(case)
        if not evidence.plan.faults and case.view is not None and case.view.left:
            yield from _stops(evidence, case, case.view)


def _pieces(seed: int, choice: int, most: int) -> tuple[list[str], bool]:
    """The text of each id as it may be read, and whether a refusal ends it."""
    words = cast.spoken(seed, choice, most).split(" ")[1:]
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if (word, following) == cast.REFUSED:
            return found, True
        if found and found[-1] == f" {cast.LABEL}" and word == cast.REDACTED[1]:
            found.append("")
        elif (word, following) == cast.REDACTED:
            found.append(f" {cast.LABEL}")
        else:
            found.append(f" {word}")
    return found, False


def _text(view: View, choice: int) -> Iterator[str]:
    ask, read, tokens = view.ask, view.text(choice), view.tokens(choice)
    pieces, refused = _pieces(ask.seed, choice, ask.most)
    who = f"client {ask.number}, choice {choice}"
    if read != "".join(pieces[:tokens]) or tokens > len(pieces):
        may = "".join(pieces[:tokens])
        yield f"{who}: read {tokens} ids as {read!r}, may read {may!r}"
    if view.outcome is None or view.outcome.state != outcome.TERMINAL_STATE_COMPLETED or view.left:
        return
    if refused:
        yield f"{who}: completed, and its whole answer is refused"
    elif tokens != ask.most:
        yield f"{who}: completed with {tokens} of {ask.most} ids"


def _judged(view: View) -> Iterator[str]:
    """What is answered was judged, and says under which policy."""
    told = view.outcome
    if told is None or view.left or told.state != outcome.TERMINAL_STATE_COMPLETED:
        return
    if " ".join(cast.REFUSED) in view.ask.text:
        yield f"client {view.ask.number}: a prompt that is refused was answered"
    if told.policy_versions != (cast.pack_version(),):
        yield f"client {view.ask.number}: judged under {told.policy_versions}"


def _verdict(view: View) -> Iterator[str]:
    """The verdict that an answer names is the one that it got, whoever judged its parts."""
    told = view.outcome
    if told is None or view.left or told.state != outcome.TERMINAL_STATE_COMPLETED:
        return
    redacts = " ".join(cast.REDACTED) in view.ask.text or any(
        cast.LABEL in view.text(choice) for choice in range(view.ask.choices)
    )
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
        for prefix in work.choices:
            said = b"".join(pieces[token] for token in prefix.ids).decode()
            seed = case.view.ask.seed if case.view else 0
            if said != cast.spoken(seed, prefix.choice, len(prefix.ids)):
                yield f"{case.who}: attempt {number} goes on from {said!r}, which nobody said"


def _stops(evidence: Evidence, case: Case, view: View) -> Iterator[str]:
    pace = evidence.world.shape.pace
    drawn = sum(n for (request, _), n in evidence.world.drawn.items() if request == case.request)
    until = (view.ended or 0.0) - view.began + STEPS_TO_STOP_S
    if drawn > until * pace * view.ask.choices + 8:
        yield f"{case.who}: left after {until - STEPS_TO_STOP_S:.2f} s, and {drawn} ids were generated"
