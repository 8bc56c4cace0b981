"""Several packs as one policy: every pack is asked, and the stricter action wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from services.moderation.matching.folding import MAX_IGNORABLE_RUN, Folded
from services.moderation.matching.matcher import Matcher, MatchFlood
from services.moderation.matching.pack import Action, Direction, Rule
from shared.bus.ports import RecordInvalid

PLATFORM = "platform@1"
"""Version under which the rules below are named: they hold whatever the packs say."""


def _own(name: str, description: str) -> Rule:
    return Rule(
        id=f"platform.{name}",
        category="evasion",
        action=Action.REFUSE,
        directions=frozenset(Direction),
        label="",
        legal_basis="protocol of the platform",
        description=description,
        check=None,
        expressions=(),
        examples=(),
        passes=(),
        line=0,
    )


IGNORABLE_RUN = _own("ignorable-run", f"More than {MAX_IGNORABLE_RUN} ignorable characters in a row.")
MATCH_FLOOD = _own("match-flood", "More matches than a text is read for.")


class PolicyPending(Exception):
    """A policy's newest version is still being compiled."""


class PolicyUnknown(RecordInvalid):
    """A policy that nobody has published, or of which no version ever compiled. Nothing passes."""


class Hit(NamedTuple):
    """A rule's match in a text; hits sort by end, start, then the rules' order."""

    end: int
    """After the last folded character."""
    start: int
    order: int
    rule: Rule
    version: str
    """Of the rule's pack."""


class Policy:
    """The packs that judge one text, on one thread."""

    def __init__(self, matchers: Iterable[Matcher]) -> None:
        self._matchers = tuple(matchers)
        packs = [matcher.pack for matcher in self._matchers]
        self.window = max((pack.window for pack in packs), default=0)
        """W: folded characters that a match may span."""
        self.versions = [pack.version for pack in packs]

    def quiet(self, texts: Iterable[str]) -> bool:
        """Whether `find` has nothing to find in any of these folded texts, were each closed.

        One pass over all of them: a line feed between two texts is to each what its own end is, and no
        expression looks further. False may also mean a match across it; then `find` knows.
        """
        data = "".join(f"{text}\n" for text in texts).encode()
        return all(matcher.quiet(data) for matcher in self._matchers)

    def find(self, folded: Folded, written: str, direction: Direction, after: int, upto: int) -> list[Hit]:
        """Hits with `after < end <= upto`, in order. A flood of matches is one hit, a refusal."""
        hits: list[Hit] = []
        try:
            for place, matcher in enumerate(self._matchers):
                found = matcher.find(folded, written, direction, after, upto)
                if found:
                    rules, version = matcher.pack.rules, matcher.pack.version
                    hits += [
                        Hit(end, start, place << 16 | rule, rules[rule], version)
                        for end, start, rule in found
                    ]
        except MatchFlood:
            return [Hit(upto, after + 1, 0, MATCH_FLOOD, PLATFORM)]
        return sorted(hits) if len(hits) > 1 else hits

    def unresolved(self, folded: str, direction: Direction) -> int:
        """How many characters at the text's end a redaction or refusal may still grow from."""
        most = 0
        for matcher in self._matchers:
            most = max(most, matcher.unresolved(folded, direction))
        return most


@dataclass(slots=True)
class Verdict:
    """What the rules said of one text, so far."""

    action: Action = Action.ALLOW
    hits: dict[tuple[str, str], Hit] = field(default_factory=dict)
    """The first of each rule and pack version."""

    def add(self, hit: Hit) -> None:
        """Count a hit in."""
        self.action = max(self.action, hit.rule.action)
        self.hits.setdefault((hit.rule.id, hit.version), hit)


@dataclass(slots=True)
class Cut:
    """A stretch of text that a label replaces: overlapping redactions are one."""

    start: int
    end: int
    label: str
    """That of the hit which begins first."""
    order: int
    shown: bool = False
    """Whether the label has been written."""


def merge(cuts: list[Cut], start: int, end: int, hit: Hit, *, shown: bool = False) -> None:
    """Add a redaction to cuts that are sorted and apart; what overlaps becomes one."""
    cut = Cut(start, end, hit.rule.label, hit.order, shown)
    apart: list[Cut] = []
    for other in cuts:
        if other.end <= cut.start or other.start >= cut.end:
            apart.append(other)
            continue
        first = min(cut, other, key=lambda one: (one.start, one.order))
        cut = Cut(first.start, max(cut.end, other.end), first.label, first.order, cut.shown or other.shown)
    apart.append(cut)
    apart.sort(key=lambda one: one.start)
    cuts[:] = apart
