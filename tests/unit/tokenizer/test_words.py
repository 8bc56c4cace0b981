"""Cutting by Python's matcher is the tokenizer's own cutting, for any ASCII text under every rule."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import PreTokenizer

from services.tokenizer.pretokenizers import RULES
from services.tokenizer.words import KEPT, LONGEST_TEXT, Words

ASCII = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=6),
        st.sampled_from(["'LL", "'re", " ", "  ", "\r\n", "\n", "\t", "\x1c", "12", "1234", "word", "_"]),
    ),
    max_size=12,
).map("".join)


def cut(rule: PreTokenizer, text: str) -> list[str]:
    return [text[start:end] for _, (start, end) in rule.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=300, deadline=None)
@given(text=ASCII)
def test_words_are_cut_as_the_rule_says(name: str, text: str) -> None:
    rule = RULES[name]
    assert rule.words.findall(text) == cut(rule.make(), text)


def test_a_word_is_merged_once_and_the_table_is_bounded() -> None:
    merged: list[str] = []

    def merge(word: str) -> list[int]:
        merged.append(word)
        return [len(word)]

    words = Words(re.compile(r"\w+|\W"), merge)
    assert words.encode("one two one") == [3, 1, 3, 1, 3]
    assert merged == ["one", " ", "two"]
    for number in range(2 * KEPT):
        words.encode(f"w{number}")
    assert len(words._table) <= KEPT  # the table has no other outside
    assert words.encode("x" * 65) == words.encode("x" * 65) == [65]
    assert merged.count("x" * 65) == 2


def test_long_text_and_other_scripts_go_the_long_way() -> None:
    words = Words(re.compile(r"."), lambda word: [1])
    assert words.encode("é") is None
    assert words.encode("x" * (LONGEST_TEXT + 1)) is None
    assert words.encode("x" * LONGEST_TEXT) is not None
