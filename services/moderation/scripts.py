"""Which script a text is mostly written in: what stands for its language where nothing else is known. Pure.

A sample decides, so the cost does not grow with the text: 0.5 us for ASCII, 3 us for the rest. It
serves a count on a dashboard and no judgement.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

SAMPLE: Final = 12
"""Characters that are looked at, spread evenly over the text."""
NONE: Final = "none"
"""Of a text without letters, such as digits."""
OTHER: Final = "other"
LATIN: Final = "latin"

_BLOCKS: Final = (
    (0x0041, LATIN),
    (0x0370, "greek"),
    (0x0400, "cyrillic"),
    (0x0530, OTHER),
    (0x0590, "hebrew"),
    (0x0600, "arabic"),
    (0x0780, OTHER),
    (0x0900, "devanagari"),
    (0x0980, "bengali"),
    (0x0A00, OTHER),
    (0x0B80, "tamil"),
    (0x0C00, OTHER),
    (0x0D80, "sinhala"),
    (0x0E00, "thai"),
    (0x0E80, "lao"),
    (0x0F00, OTHER),
    (0x1000, "myanmar"),
    (0x10A0, OTHER),
    (0x1780, "khmer"),
    (0x1800, OTHER),
    (0x1E00, LATIN),
    (0x1F00, "greek"),
    (0x2000, OTHER),
    (0x3040, "kana"),
    (0x3100, OTHER),
    (0x3400, "han"),
    (0xA000, OTHER),
    (0xAC00, "hangul"),
    (0xD7B0, OTHER),
    (0xF900, "han"),
    (0xFB00, OTHER),
    (0x20000, "han"),
    (0x32000, OTHER),
)
"""First code point of a stretch and its script; below the first stand no letters."""
_STARTS: Final = [start for start, _ in _BLOCKS]
SCRIPTS: Final = tuple(sorted({NONE, *(script for _, script in _BLOCKS)}))


def script_of(text: str) -> str:
    """One of `SCRIPTS`: that of most letters of a sample. Any kana makes a text of Han characters kana."""
    stride = -(-len(text) // SAMPLE) or 1
    sample = text[::stride][:SAMPLE]
    if sample.isascii():
        return LATIN if any(map(str.isalpha, sample)) else NONE
    counts: dict[str, int] = {}
    for letter in sample:
        if letter.isalpha():
            script = _BLOCKS[bisect_right(_STARTS, ord(letter)) - 1][1]
            counts[script] = counts.get(script, 0) + 1
    if not counts:
        return NONE
    most = max(counts, key=counts.__getitem__)
    return "kana" if most == "han" and "kana" in counts else most
