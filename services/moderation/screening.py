"""The whole text of a request, judged at once: every field by itself, and fields that are read in a row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from services.moderation.matching.folding import MAX_IGNORABLE_RUN, Folded, fold, ignorable_run
from services.moderation.matching.pack import Action, Direction
from services.moderation.policy import IGNORABLE_RUN, PLATFORM, Cut, Hit, Policy, Verdict, merge


class Passage(NamedTuple):
    """One field's text."""

    path: str
    """Such as `messages[0].parts[1]`."""
    text: str


class Span(NamedTuple):
    """A stretch of a field that is to be replaced."""

    path: str
    start: int
    end: int
    """In code points, as `start`; after the last."""
    label: str


class Screening(NamedTuple):
    """What the policy makes of a text."""

    verdict: Verdict
    refusal: Hit | None
    """The first match of a rule that refuses."""
    refused: str
    """Path of the passage where that match begins; empty where nothing is refused."""
    spans: list[Span]
    """In the passages' order, then by start; they do not overlap."""


class _Reader:
    """Reads passages under one policy and keeps what it found."""

    def __init__(
        self,
        policy: Policy,
        direction: Direction,
        passages: Sequence[Passage],
        rows: Sequence[Sequence[int]],
    ) -> None:
        self._policy = policy
        self._direction = direction
        self._passages = passages
        self._folded = [fold(passage.text) for passage in passages]
        texts = [folded.text for folded in self._folded]
        joined = ("".join(texts[index] for index in row) for row in rows)
        self._quiet = policy.quiet(chain(texts, joined))
        self._cuts: list[list[Cut]] = [[] for _ in passages]
        self.verdict = Verdict()
        self.refusal: Hit | None = None
        self.refused = ""

    def read_alone(self, index: int) -> None:
        """Judge one passage."""
        folded, text = self._folded[index], self._passages[index].text
        longest, _ = ignorable_run(folded, len(text), 0)
        if longest > MAX_IGNORABLE_RUN:
            self._refuse(Hit(0, 0, 0, IGNORABLE_RUN, PLATFORM), index)
        if self._quiet:
            return
        for hit, start, end in self._find(folded, text):
            self._act(hit, start, end, [(0, index)])

    def read_row(self, row: Sequence[int]) -> None:
        """Judge passages as one text; only what crosses a border counts."""
        if self._quiet:
            return
        text = "".join(self._passages[index].text for index in row)
        starts = list(accumulate((len(self._passages[index].text) for index in row), initial=0))
        folded = _join([self._folded[index] for index in row], starts)
        for hit, start, end in self._find(folded, text):
            first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
            if first < last:
                self._act(hit, start, end, [(starts[at], row[at]) for at in range(first, last + 1)])

    def _find(self, folded: Folded, text: str) -> Iterator[tuple[Hit, int, int]]:
        """Hits with the code points that they span; not to be asked where all is quiet."""
        whole = folded.closed(len(text))
        for hit in self._policy.find(whole, text, self._direction, -1, len(whole.text)):
            start, end = whole.written(hit.start, hit.end)
            yield hit, start, min(end, len(text))

    def _act(self, hit: Hit, start: int, end: int, places: list[tuple[int, int]]) -> None:
        """Count a hit; `places` are the starts, in the text read, of the passages that it touches."""
        self.verdict.add(hit)
        if hit.rule.action is Action.REFUSE:
            self._refuse(hit, places[0][1])
        if hit.rule.action is not Action.REDACT:
            return
        for first, index in places:
            begin, stop = max(start - first, 0), min(end - first, len(self._passages[index].text))
            if begin < stop:
                merge(self._cuts[index], begin, stop, hit)

    def _refuse(self, hit: Hit, index: int) -> None:
        self.verdict.add(hit)
        if self.refusal is None:
            self.refusal, self.refused = hit, self._passages[index].path

    def spans(self) -> list[Span]:
        """What is to be replaced."""
        return [
            Span(passage.path, cut.start, cut.end, cut.label)
            for passage, cuts in zip(self._passages, self._cuts, strict=True)
            for cut in cuts
        ]


def screen(
    policy: Policy, direction: Direction, passages: Sequence[Passage], rows: Sequence[Sequence[int]] = ()
) -> Screening:
    """Judge passages, each by itself, and the rows of them (by index) that a model reads as one text.

    Of a row only matches that cross a border count: what lies within a passage is found there. Linear
    in the text, and a row costs as much again as its passages.
    """
    longer = [row for row in rows if len(row) > 1]
    reader = _Reader(policy, direction, passages, longer)
    for index in range(len(passages)):
        reader.read_alone(index)
    for row in longer:
        reader.read_row(row)
    return Screening(reader.verdict, reader.refusal, reader.refused, reader.spans())


def _join(texts: Sequence[Folded], starts: Sequence[int]) -> Folded:
    whole = "".join(text for text, _ in texts)
    if all(offsets is None for _, offsets in texts):
        return Folded(whole, None)
    joined: list[int] = []
    for (text, offsets), start in zip(texts, starts, strict=False):
        joined += [start + offset for offset in (range(len(text)) if offsets is None else offsets)]
    return Folded(whole, joined)
