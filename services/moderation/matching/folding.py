"""Folding: what a text is before it is matched.

Every code point folds by itself, whatever stands beside it: `fold(a + b) == fold(a) + fold(b)`. So a
stream may be cut anywhere, and nothing has to be composed or reordered across a border. That is why
text is decomposed (NFKD) and never composed, and why patterns are folded by the same function.

Per code point: compatibility decomposition and case folding; digits of all scripts become ASCII, all
spaces a blank, look-alikes Latin letters. Dropped are format and control characters, variation
selectors, fillers, enclosing marks, and the marks that only decorate: those of the general combining
classes, which Latin, Cyrillic and Greek use, Arabic and Hebrew points, Thai and Lao tones. Marks that
carry a letter (vowel signs, viramas, nuktas, the kana voice marks) stay.

Limit: two kept marks typed in the wrong canonical order are not put right.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from services.moderation.matching.confusables import CONFUSABLES

MAX_IGNORABLE_RUN = 255
"""Ignorable characters in a row that are let through; one more is a refusal (protocol, Hold-back)."""

_KEPT_CLASSES = frozenset((0, 7, 8, 9, 84, 91, 103, 118, 129, 130, 132))
_BLANKS = frozenset("\u2800")
_DROPPED = frozenset((*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0x85), *range(0x86, 0xA0)))
_IGNORABLE_RANGES = (
    (0x034F, 0x034F),
    (0x0640, 0x0640),  # the Arabic tatweel stretches a word and has no sound
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
_CACHED = 30_000
"""Code points whose folding is remembered; more than any text uses, less than a hostile one could fill."""

_ASCII_CONTROLS = dict.fromkeys(point for point in _DROPPED if point < 0x80)


class Folded(NamedTuple):
    """A folded text and the way back."""

    text: str
    offsets: list[int] | None
    """For each folded character the index of the code point it came from; None = its own index."""

    def written(self, start: int, end: int) -> tuple[int, int]:
        """The code points that folded characters `start` to `end` came from; not empty."""
        if self.offsets is None:
            return start, end
        return self.offsets[start], self.offsets[end - 1] + 1

    def closed(self, length: int) -> Folded:
        """The same, ended: the end of a text (of `length` code points) reads as a line feed."""
        return Folded(self.text + "\n", None if self.offsets is None else [*self.offsets, length])


def fold(text: str) -> Folded:
    """Fold a text. Linear; about 10 ns a character for ASCII and 100 ns for the rest."""
    if text.isascii():
        kept = text if text.isprintable() else text.translate(_ASCII_CONTROLS)
        if len(kept) == len(text):
            return Folded(kept.lower(), None)
    pieces = list(map(_FOLDS.__getitem__, text))
    folded = "".join(pieces)
    if len(folded) == len(text) and "" not in pieces:
        return Folded(folded, None)
    return Folded(folded, [index for index, piece in enumerate(pieces) for _ in piece])


def ignorable_run(folded: Folded, length: int, before: int) -> tuple[int, int]:
    """The longest run of ignorable characters in a text of `length`, and the run it ends with.

    `before` is the run that the text before it ended with.
    """
    offsets = folded.offsets
    if offsets is None:
        return (0, 0) if length else (before, before)
    longest, last = 0, -1 - before
    for offset in offsets:
        longest = max(longest, offset - last)
        last = offset
    ending = length - 1 - last
    return max(longest - 1, ending), ending


class _Folds(dict[str, str]):
    def __missing__(self, char: str) -> str:
        if len(self) >= _CACHED:
            self.clear()
        folded = self[char] = _fold_char(char)
        return folded


_FOLDS = _Folds()


def _fold_char(char: str) -> str:
    decomposed = unicodedata.normalize("NFKD", char).casefold()
    return "".join(map(_fold_decomposed, unicodedata.normalize("NFKD", decomposed)))


def _fold_decomposed(char: str) -> str:
    point = ord(char)
    if point < 0x80:
        return "" if point in _DROPPED else char
    if _is_ignorable(char, point):
        return ""
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category == "Zs" or char in _BLANKS:
        return " "
    if category in ("Zl", "Zp") or point == 0x85:
        return "\n"
    return CONFUSABLES.get(char, char)


def _is_ignorable(char: str, point: int) -> bool:
    category = unicodedata.category(char)
    if category in ("Cf", "Me") or point in _DROPPED:
        return True
    if category == "Mn" and unicodedata.combining(char) not in _KEPT_CLASSES:
        return True
    return any(first <= point <= last for first, last in _IGNORABLE_RANGES)
