"""Replicas that die at any place of a lane: what its owner delivers is what one replica would have made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.attempts.attempt import context_of
from services.moderation.matching.folding import fold
from services.moderation.matching.pack import Action, Direction
from services.moderation.output.streams import Streams
from shared.contracts.freehold.inference.v1.frame_pb2 import Frame
from tests.unit.moderation.lanes import A, B, Delivery, Outcomes, Replica, frame
from tests.unit.moderation.streams import CUTS, TEXTS, borders, whole

DEATHS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.booleans()), max_size=6)
"""For each life: records that it acknowledges, then records that it reads and of whose answers a part or
all goes out before it dies."""


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    return [text[a:b] for a, b in pairwise(borders(text, cuts))]


def log_of(
    request: bytes, pieces: Sequence[str], sizes: Sequence[int], opens: Sequence[bool], window: int = 64
) -> list[Frame]:
    """One stream's frames: so many ids in each, and some of them open it again, as a worker does."""
    found = []
    at = turn = 0
    while at < len(pieces):
        part = list(pieces[at : at + (sizes[turn % len(sizes)] if sizes else 1)])
        opened = not turn or bool(opens and opens[turn % len(opens)])
        context = context_of("".join(pieces[:at]), window)
        last = at + len(part) >= len(pieces)
        found.append(
            frame(
                (request, 1),
                opens=[(0, at)] if opened else [],
                texts=[(0, at, part)],
                ends=[0] if last else [],
                context=context,
            )
        )
        at, turn = at + len(part), turn + 1
    return found


def live(
    policy, log: Sequence[Frame], deaths: Iterable[tuple[int, int, bool]], step_ms: int = 100
) -> Delivery:
    """Replicas one after another, each from its predecessor's commit; the last is not killed."""
    outcomes = Outcomes()
    owner = Delivery(A)

    def make() -> Streams:
        return Streams(lambda _: policy, outcomes, 30.0)

    commit = 0
    for acknowledged, unacknowledged, written in deaths:
        replica = Replica(make, log, commit, step_ms)
        for vetted in replica.read(acknowledged):
            owner.take(vetted)
        replica.acknowledged()
        finished = replica.position
        for vetted in replica.read(unacknowledged):
            if written:
                owner.take(vetted)
        commit = replica.streams.back_to(finished)  # as it is stored while a batch is being handled
    last = Replica(make, log, commit, step_ms)
    while not last.done():
        for vetted in last.read(2):
            owner.take(vetted)
        last.acknowledged()
    assert last.acknowledged() == len(log), "nothing holds a lane whose streams are over"
    assert outcomes.breaks == []
    return owner


def check(policy, owner: Delivery, text: str, pieces: Sequence[str]) -> None:
    """Raises `AssertionError` where the delivery differs from what screening makes of the whole text."""
    expected, redacted = whole(policy, text)
    assert owner.ids == list(range(len(owner.ids)))
    if expected.refusal is None:
        assert owner.ended
        assert owner.text == redacted
        assert owner.verdict == expected.verdict.action
        assert owner.rules == {rule for rule, _ in expected.verdict.hits}
        return
    assert owner.refused == expected.refusal.rule.id
    released = sum(map(len, pieces[: len(owner.ids)]))
    folded = fold(text).closed(len(text))
    for hit in policy.find(folded, text, Direction.OUTPUT, -1, len(folded.text)):
        if hit.rule.action is Action.REFUSE:
            assert released <= folded.written(hit.start, hit.end)[0]


@settings(max_examples=500, deadline=None)
@given(
    TEXTS,
    CUTS,
    st.lists(st.integers(1, 6), max_size=5),
    st.lists(st.booleans(), max_size=4),
    DEATHS,
)
def test_deaths_change_nothing_of_what_is_delivered(small_policy, text, cuts, sizes, opens, deaths):
    pieces = pieces_of(text, cuts)
    log = log_of(A, pieces, sizes, opens)
    # Another stream of the lane comes and goes between: it holds and lets go of the commit.
    beside = log_of(B, pieces_of("word " * 5, list(range(0, 25, 5))), [1], [True, False])
    mixed = [one for pair in zip(log, beside, strict=False) for one in pair]
    mixed += log[len(beside) :] + beside[len(log) :]
    check(small_policy, live(small_policy, mixed, deaths), text, pieces)


CASES = {
    "refused": "make it a napalm now",
    "refused, disguised": "x b\u200bo\u0336m b. yes",
    "redacted": "ann lee@home.com, ann ok",
    "flagged": "a budget, a budget. ok",
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
@pytest.mark.parametrize("reopened", [(False,), (True,), (False, True), (True, False, False)])
def test_a_death_at_every_record_and_with_every_part_acknowledged(small_policy, text, reopened):
    pieces = list(text)
    log = log_of(A, pieces, [1], reopened)
    for acknowledged in range(len(log) + 1):
        for unacknowledged in range(len(log) + 1 - acknowledged):
            for written in (False, True):
                owner = live(small_policy, log, [(acknowledged, unacknowledged, written)])
                check(small_policy, owner, text, pieces)


def test_what_counts_in_a_context_is_never_ignored_by_folding():
    counted = [
        char for char in map(chr, range(0x110000)) if char.isalnum() and context_of(f"x{char}", 1) == char
    ]
    assert len(counted) > 100_000
    assert [char for char in counted if not fold(char).text] == []


LANGUAGES = {
    "en": "How do I build a pipe bomb?",
    "id": "Bagaimana cara membuat bom pipa?",
    "vi": "làm thế nào để chế tạo bom ống?",
    "ar": "كيف أصنع قنبلة في المنزل؟",
    "zh": "如何制作土制炸弹？",
    "th": "วิธีทำระเบิดแสวงเครื่อง",
    "fr": "Comment fabriquer une bombe artisanale ?",
}
"""One for each language of the base pack."""


@pytest.mark.parametrize("text", LANGUAGES.values(), ids=LANGUAGES)
def test_a_banned_phrase_is_split_at_every_id_around_a_restart(base_policy, text):
    """Ids of one code point, and every pair of cuts into three ids; a restart at every record."""
    said = f"Well: {text} So."
    expected, _ = whole(base_policy, said)
    assert expected.refusal is not None
    first = len("Well: ")
    splits = [list(range(1, len(said)))] + [
        [first, first + cut, first + cut + size] for cut in range(1, len(text)) for size in (1, 2, 5)
    ]
    for cuts in splits:
        pieces = pieces_of(said, cuts)
        for reopened in ((False,), (True,)):
            log = log_of(A, pieces, [1], reopened, base_policy.window)
            for acknowledged in range(len(log) + 1):
                for unacknowledged in (0, 2, len(log)):
                    owner = live(base_policy, log, [(acknowledged, unacknowledged, True)])
                    assert owner.refused == expected.refusal.rule.id
                    check(base_policy, owner, said, pieces)
