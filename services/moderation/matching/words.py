"""Words and phrases as patterns, with the disguises that folding cannot undo."""

from __future__ import annotations

from services.moderation.matching.folding import fold
from services.moderation.matching.pattern import BLANK, PatternError, escape
from services.moderation.matching.tree import Chars, Choice, Edge, Node, Repeat, Sequence

_LEET = dict(
    pair.split(":") for pair in ("a:4@", "b:8", "e:3", "g:9", "i:1!|", "l:1|", "o:0", "s:5$", "t:7+", "z:2")
)
_SEPARATOR = Repeat(Chars(r"[ \t\n._\-*|/,~'+]"), 1, 2)


def phrase(text: str, *, leet: bool = False, spaced: bool = False, bounded: bool = True) -> Node:
    """The pattern of a word or phrase; a blank in it is one to three white space characters.

    `leet` reads digits and signs as the letters they resemble; `spaced` also reads the letters with a
    separator between every two of them; `bounded` asks for a word edge on each side that is an ASCII
    letter or digit (scripts without blanks between words have no edges). Raises `PatternError`.
    """
    chars = fold(" ".join(text.split())).text
    if not chars.strip():
        raise PatternError(f"{text!r} is empty after folding")
    letters = [_letter(char, leet=leet, inside=0 < at < len(chars) - 1) for at, char in enumerate(chars)]
    found: Node = Sequence(tuple(letters))
    if spaced:
        apart = [letter for letter, char in zip(letters, chars, strict=True) if char != " "]
        found = Choice((found, Sequence(tuple(_separated(apart)))))
    if not bounded:
        return found
    before: tuple[Node, ...] = (Edge(),) if _in_word(chars[0]) else ()
    after: tuple[Node, ...] = (Edge(),) if _in_word(chars[-1]) else ()
    return Sequence((*before, found, *after))


def _in_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")


def _letter(char: str, *, leet: bool, inside: bool) -> Node:
    if char == " ":
        return BLANK
    twins = _LEET.get(char, "") if leet else ""
    if not inside:
        # A sign at the border of a word would turn its edge round.
        twins = "".join(filter(str.isdigit, twins))
    return Chars(f"[{char}{''.join(map(escape, twins))}]" if twins else escape(char))


def _separated(letters: list[Node]) -> list[Node]:
    found: list[Node] = []
    for letter in letters:
        found += [_SEPARATOR, letter] if found else [letter]
    return found
