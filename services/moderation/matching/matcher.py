"""A pack, compiled: finds matches and what may become one, in time linear in the text.

Hyperscan reports every end of every match in one pass over the text. Where a match began is found by
RE2, which reads the pattern backwards from that end and takes the longest, so a candidate is the
longest that ends there: a property of the text alone, wherever a stream was cut. RE2 also tells how
much of a text's end may still become a match.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple, Protocol

import hyperscan
import re2

from services.moderation.matching.folding import Folded, fold
from services.moderation.matching.pack import Action, Direction, Expression, Pack, PackError, Rule
from services.moderation.matching.tree import unresolved

MAX_ENDS = 20_000
"""Matches in one text; more is a flood, and the text is refused."""
_DFA_BYTES = 64 * 1024 * 1024
"""Bound of RE2's cache for one expression. With a quarter of it the base pack falls back to a slow path."""


class MatchFlood(Exception):
    """A text with more matches than anything is read for."""


class Candidate(NamedTuple):
    """A match in folded text."""

    end: int
    start: int
    rule: int
    """Index in the pack's rules."""


class _Backward(Protocol):
    def match(self, text: bytes) -> _Span | None: ...


class _Span(Protocol):
    def end(self) -> int: ...


class Unit(NamedTuple):
    """One expression, its rule, and its pattern read backwards."""

    rule: int
    expression: Expression
    backward: _Backward


class Matcher:
    """One compiled pack for one thread; `fork` makes one for another."""

    def __init__(
        self,
        pack: Pack,
        units: tuple[Unit, ...],
        database: hyperscan.Database,
        held: dict[Direction, _Backward],
    ) -> None:
        self.pack = pack
        self._units = units
        self._database = database
        self._held = held
        self._scratch = hyperscan.Scratch(database)
        self._reported: list[tuple[int, int]] = []

    def fork(self) -> Matcher:
        """The same matcher with scratch memory of its own."""
        return Matcher(self.pack, self._units, self._database, self._held)

    def find(
        self, folded: Folded, written: str, direction: Direction, after: int, upto: int
    ) -> list[Candidate]:
        """Matches with `after < end <= upto`, by end, then start. Raises `MatchFlood`.

        `written` is the text that was folded. Each (rule, end) is given once, at its earliest start.
        """
        ends = self._ends(folded.text, after, upto)
        if not ends:
            return []
        rules = self.pack.rules
        found: dict[tuple[int, int], int] = {}
        for end, number in ends:
            unit = self._units[number]
            if direction not in rules[unit.rule].directions:
                continue
            start = self._confirm(unit, rules[unit.rule], folded, written, end)
            if start is not None:
                key = (end, unit.rule)
                found[key] = min(start, found.get(key, start))
        return sorted(Candidate(end, start, rule) for (end, rule), start in found.items())

    def quiet(self, data: bytes) -> bool:
        """Whether no expression matches anywhere in folded text, in UTF-8."""
        try:
            self._database.scan(data, match_event_handler=_stop, scratch=self._scratch)
        except hyperscan.ScanTerminated:
            return False
        return True

    def unresolved(self, folded: str, direction: Direction) -> int:
        """How many characters at the text's end a match may still grow from; only rules that act count."""
        return _reach(self._held[direction], folded[: -self.pack.window - 2 : -1])

    def _ends(self, text: str, after: int, upto: int) -> list[tuple[int, int]]:
        data = text.encode()
        self._reported = []
        try:
            self._database.scan(data, match_event_handler=self._report, scratch=self._scratch)
        except hyperscan.ScanTerminated:
            raise MatchFlood from None
        if not self._reported:
            return self._reported
        reported = sorted(set(self._reported))
        if len(data) != len(text):
            reported = _in_characters(reported, data)
        return [found for found in reported if after < found[0] <= upto]

    def _report(self, number: int, _start: int, end: int, _flags: int, _context: object) -> bool | None:
        self._reported.append((end, number))
        return len(self._reported) > MAX_ENDS or None

    def _confirm(self, unit: Unit, rule: Rule, folded: Folded, written: str, end: int) -> int | None:
        """Where the match that ends here begins; None where the rule's check refuses it."""
        text = folded.text
        # The character after the end decides on an edge; nothing is as good as a line feed.
        after = text[end : end + 1] or "\n"
        first = max(0, end - self.pack.window - 1)
        start = end + 1 - _reach(unit.backward, after + text[first:end][::-1])
        if rule.check is None and not unit.expression.written:
            return start
        offsets = folded.offsets
        original = written[start:end] if offsets is None else written[offsets[start] : offsets[end - 1] + 1]
        if unit.expression.written and spelling(original) != spelling(unit.expression.written):
            return None
        if rule.check is None:
            return start
        inner = rule.check(text[start:end], original)
        return None if inner is None else start + inner


def _stop(_number: int, _start: int, _end: int, _flags: int, _context: object) -> bool:
    return True


def _reach(backward: _Backward, text: str) -> int:
    """How many characters from the beginning of a (reversed) text the longest match has; 0 = none."""
    # Bytes, because for text RE2's wrapper counts characters more slowly than it matches.
    data = text.encode()
    found = backward.match(data)
    if found is None:
        return 0
    return found.end() if len(data) == len(text) else len(data[: found.end()].decode())


def _in_characters(reported: list[tuple[int, int]], data: bytes) -> list[tuple[int, int]]:
    found = []
    byte = character = 0
    for end, number in reported:
        character += len(data[byte:end].decode())
        byte = end
        found.append((character, number))
    return found


def spelling(text: str) -> str:
    """A text as it is compared where accents count: composed, in one case, without ignorable characters."""
    kept = "".join(char for char in text if unicodedata.combining(char) or fold(char).text)
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFKC", kept).casefold()).split())


def compile_pack(pack: Pack) -> Matcher:
    """Compile a pack and try its own examples. Raises `PackError`. Takes up to seconds of CPU."""
    matcher = _compile(pack)
    for rule in pack.rules:
        for text, wanted in [(text, True) for text in rule.examples] + [
            (text, False) for text in rule.passes
        ]:
            if matches(matcher, rule, text) is not wanted:
                fault = "does not match its example" if wanted else "matches what it should let pass"
                raise PackError(f"pack {pack.id}, line {rule.line}: rule {rule.id} {fault} {text!r}")
    return matcher


def matches(matcher: Matcher, rule: Rule, text: str) -> bool:
    """Whether one rule matches a text."""
    folded = fold(text).closed(len(text))
    (direction, *_) = rule.directions
    found = matcher.find(folded, text, direction, -1, len(folded.text))
    return any(matcher.pack.rules[candidate.rule] is rule for candidate in found)


def _compile(pack: Pack) -> Matcher:
    units = tuple(
        Unit(index, expression, _backward(f"(?s:.)(?:{expression.node.backward})", pack, rule))
        for index, rule in enumerate(pack.rules)
        for expression in rule.expressions
    )
    database = _database([unit.expression for unit in units])
    if database is None:
        raise PackError(_culprit(pack, units))
    held = {direction: _backward(_held(pack, direction), pack, None) for direction in Direction}
    return Matcher(pack, units, database, held)


def _database(expressions: list[Expression]) -> hyperscan.Database | None:
    """All expressions in one database, numbered in order; None where one cannot be compiled."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[expression.node.forward.encode() for expression in expressions],
            ids=list(range(len(expressions))),
            flags=[hyperscan.HS_FLAG_UTF8] * len(expressions),
        )
    except hyperscan.HyperscanError:
        return None
    return database


def _culprit(pack: Pack, units: tuple[Unit, ...]) -> str:
    """Which rule it is: Hyperscan does not say which expression of many it cannot compile."""
    for unit in units:
        if _database([unit.expression]) is None:
            rule = pack.rules[unit.rule]
            place = f"pack {pack.id}, line {rule.line}: rule {rule.id}"
            return f"{place} has a pattern that is too large or never matches"
    return f"pack {pack.id} is too large to compile"


def _held(pack: Pack, direction: Direction) -> str:
    """What must be held at the end of a text, read backwards: only rules that change a text hold it."""
    return "|".join(
        f"(?:{unresolved(expression.node)})"
        for rule in pack.rules
        if rule.action >= Action.REDACT and direction in rule.directions
        for expression in rule.expressions
    )


def _backward(expression: str, pack: Pack, rule: Rule | None) -> _Backward:
    options = re2.Options()
    options.longest_match = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _DFA_BYTES
    try:
        compiled: _Backward = re2.compile(expression.encode(), options)
    except re2.error as error:
        where = f", line {rule.line}: rule {rule.id}" if rule else ""
        raise PackError(f"pack {pack.id}{where} cannot be compiled: {error}") from error
    return compiled
