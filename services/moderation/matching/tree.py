"""Trees of bounded patterns, and the three regular expressions that are written from one.

`forward` matches the pattern. `backward` matches it read from its last character to its first, which
finds where a match began once its end is known. `unfinished` matches, read backwards too, what may
stand of a pattern when a text breaks off: every beginning of it that is not yet the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol


class Node(Protocol):
    """A part of a pattern. The expressions are of the dialect that RE2 and Hyperscan share."""

    @property
    def shortest(self) -> int:
        """Characters of the shortest match."""

    @property
    def longest(self) -> int:
        """Characters of the longest match."""

    @property
    def positions(self) -> int:
        """Characters with all repetitions written out: the size of an automaton."""

    @property
    def edged(self) -> bool:
        """Whether a character beside the match may decide on it."""

    @property
    def forward(self) -> str:
        """Expression of the matches."""

    @property
    def backward(self) -> str:
        """Expression of the matches, each read from its end."""

    @property
    def unfinished(self) -> str:
        """Expression of the matches' beginnings, each read from its end; the empty one among them."""


def _either(options: list[str]) -> str:
    """Any of the expressions; an empty one makes the rest optional."""
    filled = list(dict.fromkeys(option for option in options if option))
    if not filled:
        return ""
    return f"(?:{'|'.join(filled)}){'?' if len(filled) < len(set(options)) else ''}"


@dataclass(frozen=True)
class Chars:
    """One character of a set, given as a bracket expression or an escaped character."""

    forward: str
    shortest: int = 1
    longest: int = 1
    positions: int = 1
    edged: bool = False
    unfinished: str = ""

    @property
    def backward(self) -> str:
        return self.forward


@dataclass(frozen=True)
class Edge:
    """Between an ASCII letter, digit or underscore and anything else; no character of its own."""

    forward: str = r"\b"
    backward: str = r"\b"
    shortest: int = 0
    longest: int = 0
    positions: int = 0
    edged: bool = True
    unfinished: str = ""


@dataclass(frozen=True)
class Sequence:
    """One part after the other."""

    parts: tuple[Node, ...]

    @cached_property
    def shortest(self) -> int:
        return sum(part.shortest for part in self.parts)

    @cached_property
    def longest(self) -> int:
        return sum(part.longest for part in self.parts)

    @cached_property
    def positions(self) -> int:
        return sum(part.positions for part in self.parts)

    @cached_property
    def edged(self) -> bool:
        return any(part.edged for part in self.parts)

    @cached_property
    def forward(self) -> str:
        return "".join(part.forward for part in self.parts)

    @cached_property
    def backward(self) -> str:
        return "".join(part.backward for part in reversed(self.parts))

    @cached_property
    def unfinished(self) -> str:
        if not self.parts:
            return ""
        expression = self.parts[-1].unfinished
        for part in reversed(self.parts[:-1]):
            expression = _either([expression + part.backward, part.unfinished])
        return expression


@dataclass(frozen=True)
class Choice:
    """Any one of the options."""

    options: tuple[Node, ...]

    @cached_property
    def shortest(self) -> int:
        return min(option.shortest for option in self.options)

    @cached_property
    def longest(self) -> int:
        return max(option.longest for option in self.options)

    @cached_property
    def positions(self) -> int:
        return sum(option.positions for option in self.options)

    @cached_property
    def edged(self) -> bool:
        return any(option.edged for option in self.options)

    @cached_property
    def forward(self) -> str:
        return _either([option.forward for option in self.options])

    @cached_property
    def backward(self) -> str:
        return _either([option.backward for option in self.options])

    @cached_property
    def unfinished(self) -> str:
        return _either([option.unfinished for option in self.options])


@dataclass(frozen=True)
class Repeat:
    """A part, `least` to `most` times."""

    part: Node
    least: int
    most: int

    @cached_property
    def shortest(self) -> int:
        return self.least * self.part.shortest

    @cached_property
    def longest(self) -> int:
        return self.most * self.part.longest

    @cached_property
    def positions(self) -> int:
        return self.most * self.part.positions

    @property
    def edged(self) -> bool:
        return self.part.edged

    @cached_property
    def forward(self) -> str:
        return f"(?:{self.part.forward}){{{self.least},{self.most}}}"

    @cached_property
    def backward(self) -> str:
        return f"(?:{self.part.backward}){{{self.least},{self.most}}}"

    @cached_property
    def unfinished(self) -> str:
        if self.most == 1:
            return self.part.unfinished
        return f"{self.part.unfinished}(?:{self.part.backward}){{0,{self.most - 1}}}"


def unresolved(node: Node) -> str:
    """Expression of all that must be held at the end of a text: a match begun, or one just ended.

    A match that ends where the text does is unresolved too: the next character may lengthen it, or
    undo it at an edge.
    """
    return Sequence((node, Edge())).unfinished
