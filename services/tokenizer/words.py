"""The short way for ASCII text: cut by Python's own matcher, each word's ids looked up.

A prompt is mostly words that were encoded before, and looking one up costs a twentieth of merging it.
What a word encodes to depends on nothing beside it, so the table holds for any text. It is shared by
all tenants, as the vocabulary's own table of merges is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

KEPT = 10_000
"""Words in the table, about 1.5 MB; one more begins it anew."""
LONGEST_WORD = 64
"""Characters of a word that is kept."""
LONGEST_TEXT = 8_192
"""Characters; longer text is for threads that hold no interpreter lock."""


class Words:
    """Ids of short ASCII text. For several threads at once: its table changes by single operations."""

    def __init__(self, pattern: re.Pattern[str], merge: Callable[[str], list[int]]) -> None:
        """`pattern` cuts ASCII text into words that cover it; `merge` gives one word's ids."""
        self._cut = pattern.findall
        self._table = _Table(merge)

    def encode(self, text: str) -> list[int] | None:
        """The text's ids; None where it has to go the long way."""
        if len(text) > LONGEST_TEXT or not text.isascii():
            return None
        table = self._table
        return [token for word in self._cut(text) for token in table[word]]


class _Table(dict[str, list[int]]):
    def __init__(self, merge: Callable[[str], list[int]]) -> None:
        self._merge = merge

    def __missing__(self, word: str) -> list[int]:
        ids = self._merge(word)
        if len(word) <= LONGEST_WORD:
            if len(self) >= KEPT:
                self.clear()
            self[word] = ids
        return ids
