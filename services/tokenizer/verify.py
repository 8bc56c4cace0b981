"""The check at load: a vocabulary that differs from its engine's in one id of thousands is not served."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Protocol

from services.tokenizer.errors import ModelRefused, PromptRefused
from services.tokenizer.model import ServedModel
from services.tokenizer.template import Turn
from services.tokenizer.vocabulary import Vocabulary

STRINGS = 5_000
SEED = 20_260
SCRIPTS = {
    "Latin": (0x20, 0x7E),
    "Latin extended": (0xA0, 0x24F),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x52F),
    "Armenian": (0x531, 0x58F),
    "Hebrew": (0x591, 0x5F4),
    "Arabic": (0x600, 0x6FF),
    "Devanagari": (0x900, 0x97F),
    "Bengali": (0x980, 0x9FE),
    "Gurmukhi": (0xA01, 0xA76),
    "Gujarati": (0xA81, 0xAFF),
    "Tamil": (0xB82, 0xBFA),
    "Telugu": (0xC00, 0xC7F),
    "Kannada": (0xC80, 0xCF2),
    "Malayalam": (0xD00, 0xD7F),
    "Sinhala": (0xD81, 0xDF4),
    "Thai": (0xE01, 0xE5B),
    "Lao": (0xE81, 0xEDF),
    "Tibetan": (0xF00, 0xFDA),
    "Myanmar": (0x1000, 0x109F),
    "Georgian": (0x10A0, 0x10FF),
    "Ethiopic": (0x1200, 0x139F),
    "Khmer": (0x1780, 0x17F9),
    "Punctuation": (0x2000, 0x206F),
    "Symbols": (0x20A0, 0x2BFF),
    "Kana": (0x3000, 0x30FF),
    "Hangul": (0xAC00, 0xD7A3),
    "Han": (0x4E00, 0x9FFF),
    "Han extended": (0x20000, 0x2A6DF),
    "Mathematical": (0x1D400, 0x1D7FF),
    "Emoji": (0x1F300, 0x1FAFF),
    "All planes": (0x20, 0x3FFFF),
}
"""First and last code point of what strings are drawn from."""
# Where rules of cutting differ most: spaces of all kinds, digits, contractions, line ends, joiners.
_SEAMS = (
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    " \n ",
    "1",
    "42",
    "'s",
    "'LL",
    ".",
    "...",
    "\u00a0",
    "\u3000",
    "\u200d",
    "\ufe0f",
    "\u0301",
)


class ReferenceEncoder(Protocol):
    """The engine's own tokenizer."""

    def __call__(self, texts: Sequence[bytes], *, parse_special: bool = False) -> list[list[int]]:
        """Ids of each UTF-8 text, nothing added; control tokens are matched only with `parse_special`."""


def probe_strings() -> Iterator[str]:
    """`STRINGS` strings over all `SCRIPTS`, always the same: assigned code points, with seams between."""
    chance = random.Random(SEED)
    ranges = list(SCRIPTS.values())
    for number in range(STRINGS):
        first, last = ranges[number % len(ranges)]
        parts = []
        for _ in range(chance.randint(1, 12)):
            if chance.random() < 0.3:
                parts.append(chance.choice(_SEAMS))
            while unicodedata.category(drawn := chr(chance.randint(first, last))) in ("Cn", "Cs", "Co", "Cc"):
                pass
            parts.append(drawn * chance.choice((1, 1, 1, 2, 3)))
        yield "".join(parts)


def token_strings(vocabulary: Vocabulary) -> Iterator[str]:
    """Every token's own text, a few on a line each: what no sample of scripts can promise to touch."""
    steering = set(vocabulary.controls.values())
    texts = (vocabulary.decode([token]) for token in range(vocabulary.size) if token not in steering)
    while lines := list(islice(texts, 16)):
        yield "\n".join(lines)


def verify_model(model: ServedModel, reference: ReferenceEncoder) -> None:
    """Compare plain text and whole prompts with the engine; type every control token. Raises ModelRefused."""
    strings = list(probe_strings())
    texts = chain(strings, token_strings(model.vocabulary))
    while batch := list(islice(texts, 512)):
        ours, theirs = model.vocabulary.encode(batch), reference([text.encode() for text in batch])
        for text, found, expected in zip(batch, ours, theirs, strict=True):
            if found != expected:
                raise ModelRefused(f"model {model.name}: {_difference(text, found, expected)}")
    # Not compared: an engine takes a user-defined token such as `<tool_call>` from plain text, we do not.
    controls = model.vocabulary.controls
    typed = model.vocabulary.encode([*controls, *(f"a {text}\nb" for text in controls)])
    if any(not set(controls.values()).isdisjoint(ids) for ids in typed):
        raise ModelRefused(f"model {model.name}: a typed control token is not plain text")
    _verify_prompts(model, reference, strings)


def _verify_prompts(model: ServedModel, reference: ReferenceEncoder, strings: list[str]) -> None:
    prompts, rendered = [], []
    for turns in _conversations(strings):
        try:
            rendered.append(model.template.raw(turns))
        except PromptRefused:
            continue
        prompts.append(model.template.render(turns))
    if not prompts:
        raise ModelRefused(f"model {model.name}: its template takes no conversation at all")
    expected = reference([text.encode() for text in rendered], parse_special=True)
    for text, found, wanted in zip(rendered, model.encode(prompts), expected, strict=True):
        if found != wanted:
            raise ModelRefused(f"model {model.name}: in a prompt, {_difference(text, found, wanted)}")


def _conversations(strings: list[str]) -> Iterator[list[Turn]]:
    """Conversations in every script, with and without a system message, of one and of several turns."""
    for number in range(0, 4 * len(SCRIPTS), 4):
        system, first, answer, second = (strings[number + step].strip() or "x" for step in range(4))
        yield [Turn("user", first)]
        yield [Turn("system", system), Turn("user", first)]
        yield [Turn("user", first), Turn("assistant", answer), Turn("user", second)]


def _difference(text: str, found: list[int], expected: list[int]) -> str:
    return f"ids of {text[:60]!a} are {found[:20]}, the engine's are {expected[:20]}"
