"""How text is cut before tokens are merged, by the names of GGUF's `tokenizer.ggml.pre`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

# The contractions, words and the rest of the cl100k family; `{digits}` differs.
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Rule(NamedTuple):
    """One row."""

    make: Callable[[], PreTokenizer]
    whole_words: bool = False
    """A cut that is a token itself is taken as it is, without merging."""


def _gpt2() -> PreTokenizer:
    return ByteLevel(add_prefix_space=False, use_regex=True)


def _single_digits() -> PreTokenizer:
    return Sequence([Digits(individual_digits=True), _gpt2()])


def _cl100k(digits: str) -> PreTokenizer:
    split = Split(Regex(_CL100K.format(digits=digits)), "isolated")
    return Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])


RULES = {
    "gpt-2": Rule(_gpt2),
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        Rule(_single_digits),
    ),
    "llama-bpe": Rule(lambda: _cl100k(r"\p{N}{1,3}"), whole_words=True),
    "qwen2": Rule(lambda: _cl100k(r"\p{N}")),
}
"""After llama.cpp's rules. A wrong row cannot serve: each model is verified against its engine at load."""
