"""How text is cut before tokens are merged, by the names of GGUF's `tokenizer.ggml.pre`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

# The contractions, words and the rest of the cl100k family; `{digits}` differs.
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# ASCII's share of \p{L}, \p{N} and \s. Python's own \s has four control characters more.
_L, _N, _S = "A-Za-z", "0-9", " \\t-\\r"
_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"


class Rule(NamedTuple):
    """One row."""

    make: Callable[[], PreTokenizer]
    words: re.Pattern[str]
    """The same for ASCII text alone."""
    whole_words: bool = False
    """A cut that is a token itself is taken as it is, without merging."""


def _words_gpt2(digits: str = f" ?[{_N}]+", inside: str = "") -> re.Pattern[str]:
    """`inside`: what ends a piece before blanks are looked at, as a single digit does."""
    return re.compile(
        f"{_CONTRACTIONS}| ?[{_L}]+|{digits}| ?[^{_S}{_L}{_N}]+|[{_S}]+(?![^{_S}{inside}])|[{_S}]+"
    )


def _words_cl100k(digits: str) -> re.Pattern[str]:
    return re.compile(
        f"(?i:{_CONTRACTIONS})|[^\\r\\n{_L}{_N}]?[{_L}]+|{digits}| ?[^{_S}{_L}{_N}]+[\\r\\n]*"
        f"|[{_S}]*[\\r\\n]+|[{_S}]+(?![^{_S}])|[{_S}]+"
    )


def _gpt2() -> PreTokenizer:
    return ByteLevel(add_prefix_space=False, use_regex=True)


def _single_digits() -> PreTokenizer:
    return Sequence([Digits(individual_digits=True), _gpt2()])


def _cl100k(digits: str) -> PreTokenizer:
    split = Split(Regex(_CL100K.format(digits=digits)), "isolated")
    return Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])


RULES = {
    "gpt-2": Rule(_gpt2, _words_gpt2()),
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        Rule(_single_digits, _words_gpt2(f"[{_N}]", _N)),
    ),
    "llama-bpe": Rule(lambda: _cl100k(r"\p{N}{1,3}"), _words_cl100k(f"[{_N}]{{1,3}}"), whole_words=True),
    "qwen2": Rule(lambda: _cl100k(r"\p{N}"), _words_cl100k(f"[{_N}]")),
}
"""After llama.cpp's rules. A wrong row cannot serve: each model is verified against its engine at load."""
