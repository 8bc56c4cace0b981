"""Patterns: a small regular language whose matches are bounded.

Understood: literals; `.` (all but a line feed); `[...]` and `[^...]` with ranges; `\\d \\w \\s` and, outside
of brackets, `\\D \\W \\S`; `\\b` (an edge between an ASCII letter, digit or underscore and anything else);
`(...)`, `(?:...)`, `|`; `?`, `{m}`, `{m,n}`. A blank outside of brackets stands for one to three white
space characters. Refused: `*`, `+`, `{m,}`, anchors, back references, look-around, flags.

Patterns are matched on folded text, so their literals are folded too.
"""

from __future__ import annotations

from typing import NoReturn

from services.moderation.matching.folding import fold
from services.moderation.matching.tree import Chars, Choice, Edge, Node, Repeat, Sequence

MAX_DEPTH = 16
"""Nested groups."""
MAX_LENGTH = 4_000
"""Characters of one pattern."""

_SPACE = r"\t\n\v\f\r "
_SETS = {"d": "0-9", "w": "0-9a-z_", "s": _SPACE}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r"}
_SPECIAL = frozenset(".[](){}|?*+^$\\-")

BLANK = Repeat(Chars(f"[{_SPACE}]"), 1, 3)
"""What a blank in a pattern or a phrase stands for."""


class PatternError(ValueError):
    """A pattern that is not understood, or whose matches are not bounded; the message says why."""


def literal(text: str) -> Node:
    """A text as it stands, folded; a blank is one to three white space characters."""
    return Sequence(tuple(BLANK if char == " " else Chars(escape(char)) for char in fold(text).text))


def escape(char: str) -> str:
    """A character that stands for itself, inside of brackets or outside."""
    return "\\" + char if char in _SPECIAL else char


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises `PatternError`."""
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"longer than {MAX_LENGTH} characters")
    parser = _Parser(pattern)
    node = parser.choice(0)
    if parser.more():
        parser.refuse("a ')' without its '('")
    return node


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._pattern)

    def refuse(self, reason: str) -> NoReturn:
        raise PatternError(f"{reason}, at character {self._at + 1} of {self._pattern!r}")

    def choice(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self.refuse(f"more than {MAX_DEPTH} groups inside each other")
        options = [self._sequence(depth)]
        while self._take("|"):
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.more() and self._pattern[self._at] not in "|)":
            parts.append(self._repeat(self._single(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _single(self, depth: int) -> Node:
        char = self._next()
        if char == "(":
            if self._take("?") and not self._take(":"):
                self.refuse("look-around, flags and named groups are not understood")
            node = self.choice(depth + 1)
            if not self._take(")"):
                self.refuse("a '(' without its ')'")
            return node
        if char == "[":
            return self._brackets()
        if char == "\\":
            return self._escaped()
        if char == ".":
            return Chars(r"[^\n]")
        if char == " ":
            return BLANK
        if char in "*+?{":
            self.refuse(f"{char!r} without anything to repeat")
        if char in "^$":
            self.refuse("anchors are not understood: a stream has no lines")
        return literal(char)

    def _escaped(self) -> Node:
        char = self._next()
        if char == "b":
            return Edge()
        if char in _SETS:
            return Chars(f"[{_SETS[char]}]")
        if char.lower() in _SETS:
            return Chars(f"[^{_SETS[char.lower()]}]")
        return Chars(escape(self._plain(char)))

    def _plain(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isascii() and char.isalnum():
            self.refuse(f"the escape \\{char} is not understood")
        return char

    def _brackets(self) -> Node:
        negated = self._take("^")
        members: list[str] = []
        while not self._take("]"):
            first = self._member()
            if isinstance(first, Chars):
                members.append(first.forward[1:-1])
            elif self._range_follows():
                self._at += 1
                last = self._member()
                if isinstance(last, Chars) or last < first:
                    self.refuse("a range that runs backwards or ends in a set")
                members.append(f"{escape(first)}-{escape(last)}")
            else:
                members.append(escape(first))
        if not members:
            self.refuse("empty brackets")
        return Chars(f"[{'^' if negated else ''}{''.join(members)}]")

    def _range_follows(self) -> bool:
        return self._pattern.startswith("-", self._at) and not self._pattern.startswith("]", self._at + 1)

    def _member(self) -> Chars | str:
        char = self._next()
        if char == "\\":
            char = self._next()
            return Chars(f"[{_SETS[char]}]") if char in _SETS else self._plain(char)
        folded = fold(char).text
        if len(folded) != 1:
            self.refuse(f"{char!r} cannot stand in brackets: it folds to {folded!r}")
        return folded

    def _repeat(self, node: Node) -> Node:
        if self._take("?"):
            least, most = 0, 1
        elif self._take("{"):
            least, most = self._bounds()
        else:
            if self.more() and self._pattern[self._at] in "*+":
                self.refuse("'*' and '+' have no bound; write {m,n}")
            return node
        if self.more() and self._pattern[self._at] in "?*+{":
            self.refuse("two repetitions of one part")
        if isinstance(node, Edge):
            self.refuse("an edge cannot be repeated")
        return Repeat(node, least, most)

    def _bounds(self) -> tuple[int, int]:
        least = self._number()
        most = self._number() if self._take(",") else least
        if not self._take("}"):
            self.refuse("a '{' without its '}'")
        if not least <= most or not 1 <= most <= 1000:
            self.refuse("bounds must be m <= n and 1 <= n <= 1000")
        return least, most

    def _number(self) -> int:
        start = self._at
        while self.more() and self._pattern[self._at] in "0123456789" and self._at - start < 5:
            self._at += 1
        if start == self._at:
            self.refuse("a repetition needs both bounds: {m,n}")
        return int(self._pattern[start : self._at])

    def _next(self) -> str:
        if not self.more():
            self.refuse("the pattern breaks off")
        self._at += 1
        return self._pattern[self._at - 1]

    def _take(self, char: str) -> bool:
        if self._pattern[self._at : self._at + 1] != char:
            return False
        self._at += 1
        return True
