"""The window over one output stream: text goes in as it is generated, and comes out once it is decided.

A character is released when no match that touches it can still come. What is released, joined, is the
text that `screening` makes of the whole answer, wherever the stream was cut; of a refused stream no
character of the match has been released.

All positions of text are code points. Folded positions are said to be so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from services.moderation.matching.folding import MAX_IGNORABLE_RUN, Folded, fold, ignorable_run
from services.moderation.matching.pack import Action, Direction
from services.moderation.policy import IGNORABLE_RUN, PLATFORM, Cut, Hit, Policy, Verdict, merge


class Delta(NamedTuple):
    """Released ids in a row, with their text."""

    first: int
    """Index of the first id."""
    ids: list[int]
    lengths: list[int]
    """Code points of `text` that each id ends."""
    text: str


class WindowError(ValueError):
    """A delta that does not fit together; the stream cannot be vetted any more."""


class Window:
    """One stream: one request, attempt and choice."""

    __slots__ = (
        "_base",
        "_begun",
        "_cuts",
        "_decided",
        "_folded",
        "_held",
        "_ids",
        "_index",
        "_lengths",
        "_offsets",
        "_policy",
        "_quiet",
        "_run",
        "_written",
        "exposed",
        "refusal",
        "taken",
        "verdict",
    )

    def __init__(self, policy: Policy, next_index: int = 0, context: str = "") -> None:
        """`context` is what stands before the id at `next_index`: W folded characters, or all there are.
        All of it was released, by this window's predecessor.
        """
        folded = fold(context)
        self._policy = policy
        self._index = next_index
        self._ids: list[int] = []
        self._lengths: list[int] = []
        self._base = 0
        self._begun = len(context)
        self._written = context
        self._folded = folded.text
        self._offsets = folded.offsets
        self._held = len(context)
        self._decided = len(folded.text)
        _, self._run = ignorable_run(folded, len(context), 0)
        self._cuts: list[Cut] = []
        self._quiet = False
        """Whether nothing matches in the folded text, were this its end."""
        self.taken = len(folded.text)
        """Folded characters that were taken, the context's included."""
        self.verdict = Verdict()
        self.refusal: Hit | None = None
        """Set once: nothing more is released."""
        self.exposed = 0
        """Code points that were released and then matched a rule that refuses or redacts: what must be 0."""

    @property
    def held(self) -> int:
        """Ids that wait."""
        return len(self._ids)

    @property
    def next_index(self) -> int:
        """Index of the id that must come next."""
        return self._index + len(self._ids)

    @property
    def released(self) -> int:
        """Index after the last id that was released."""
        return self._index

    @property
    def decided(self) -> int:
        """How many of the folded characters `taken` are decided: what ends within them is known."""
        return self.taken - len(self._folded) + self._decided

    def push(self, ids: Sequence[int], lengths: Sequence[int], text: str) -> Delta | None:
        """Take the next ids and what can be released now. Raises `WindowError`."""
        if len(ids) != len(lengths) or sum(lengths) != len(text):
            raise WindowError("the lengths do not add up to the text")
        self._ids += ids
        self._lengths += lengths
        if text and not self._append(text):
            return None
        return self._settle(final=False)

    def finish(self) -> Delta | None:
        """The rest: the text has ended."""
        return self._settle(final=True)

    def _append(self, text: str) -> bool:
        new = fold(text)
        longest, self._run = ignorable_run(new, len(text), self._run)
        if longest > MAX_IGNORABLE_RUN:
            self._refuse(Hit(0, 0, 0, IGNORABLE_RUN, PLATFORM))
            return False
        if self._offsets is not None or new.offsets is not None:
            before = self._offsets if self._offsets is not None else list(range(len(self._written)))
            after = new.offsets if new.offsets is not None else range(len(text))
            first = len(self._written)
            self._offsets = before + [first + offset for offset in after]
        self._written += text
        self._folded += new.text
        self.taken += len(new.text)
        self._quiet = self._policy.quiet((self._folded,))
        return True

    def _settle(self, *, final: bool) -> Delta | None:
        if self.refusal is not None:
            return None
        size = len(self._folded)
        folded = Folded(self._folded, self._offsets)
        if final:
            folded = folded.closed(len(self._written))
        # A match that ends where the text does may still grow, or fail at its edge.
        upto = size + 1 if final else size - 1
        if upto > self._decided:
            if not self._quiet and not self._act_all(folded, upto):
                return None
            self._decided = upto
        held = 0 if final else self._policy.unresolved(self._folded, Direction.OUTPUT)
        delta = self._release(self._place(size - held) if held else len(self._written))
        if size > 2 * self._policy.window + 2:
            self._forget()
        return delta

    def _place(self, folded: int) -> int:
        return folded if self._offsets is None else self._offsets[folded]

    def _act_all(self, folded: Folded, upto: int) -> bool:
        """Act on what ends after the decided text and at or before `upto`; False for a refusal."""
        found = self._policy.find(folded, self._written, Direction.OUTPUT, self._decided, upto)
        return all(self._act(hit, folded) for hit in found)

    def _act(self, hit: Hit, folded: Folded) -> bool:
        self.verdict.add(hit)
        if hit.rule.action < Action.REDACT:
            return True
        start = end = self._held
        if hit.start < hit.end:
            start, end = folded.written(hit.start, hit.end)
            end = min(end, len(self._written))
        if start < self._held:
            self._expose(start, min(end, self._held))
        if hit.rule.action is Action.REFUSE:
            self._refuse(hit)
            return False
        if start < end:
            # The label stands at the span's first id: a predecessor that released this id has shown it.
            shown = self._base + start < self._begun
            merge(self._cuts, self._base + start, self._base + end, hit, shown=shown)
        return True

    def _expose(self, start: int, end: int) -> None:
        """Count what this window let out as it was; what a label stood for did not."""
        start = max(start, self._begun - self._base)
        covered = sum(
            max(0, min(cut.end, self._base + end) - max(cut.start, self._base + start)) for cut in self._cuts
        )
        self.exposed += max(0, end - start - covered)

    def _refuse(self, hit: Hit) -> None:
        self.verdict.add(hit)
        self.refusal = hit
        self._ids, self._lengths, self._cuts = [], [], []
        self._written = self._folded = ""

    def _release(self, border: int) -> Delta | None:
        """Release whole ids whose text ends at or before `border`."""
        count, stop = len(self._ids), len(self._written)
        if border < stop:
            count, stop = 0, self._held
            for length in self._lengths:
                if stop + length > border:
                    break
                stop += length
                count += 1
        if not count:
            return None
        ids, lengths = self._ids[:count], self._lengths[:count]
        text = self._written[self._held : stop]
        if self._cuts:
            text, lengths = self._replaced(lengths)
            self._cuts = [cut for cut in self._cuts if cut.end > self._base + stop]
        delta = Delta(self._index, ids, lengths, text)
        self._index += count
        self._held = stop
        del self._ids[:count], self._lengths[:count]
        return delta

    def _replaced(self, lengths: list[int]) -> tuple[str, list[int]]:
        """The text of the first held ids with labels for what is cut, and its length for each id."""
        texts: list[str] = []
        start = self._base + self._held
        for length in lengths:
            texts.append(self._without_cuts(start, start + length))
            start += length
        return "".join(texts), [len(text) for text in texts]

    def _without_cuts(self, start: int, end: int) -> str:
        kept = ""
        for cut in self._cuts:
            if cut.start >= end or cut.end <= start or start == end:
                continue
            kept += self._written[start - self._base : max(start, cut.start) - self._base]
            if not cut.shown:
                kept += f"[{cut.label}]"
                cut.shown = True
            start = min(end, cut.end)
        return kept + self._written[start - self._base : end - self._base]

    def _forget(self) -> None:
        """Drop text that was released and that no match can reach back to."""
        first = len(self._folded) - self._policy.window - 1
        cut = min(self._held, self._place(first))
        if self._offsets is None:
            first = cut
        else:
            first = min(first, bisect_left(self._offsets, self._held))
            left = [offset - cut for offset in self._offsets[first:]]
            self._offsets = None if left == list(range(len(self._written) - cut)) else left
        self._written = self._written[cut:]
        self._folded = self._folded[first:]
        self._base += cut
        self._held -= cut
        self._decided -= first
