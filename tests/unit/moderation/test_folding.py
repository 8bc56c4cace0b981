import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.moderation.matching.folding import fold, ignorable_run

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from(
            "abmoB \n\u200b\u0301\u0327\u00e9\u0431\u043e\ufb01\u337f\u0e01\u0e48\u3099\u304b\uac00\u00ad"
        ),
    ),
    max_size=40,
)


@given(TEXTS, st.data())
def test_folding_the_parts_is_folding_the_whole(text, data):
    cut = data.draw(st.integers(0, len(text)))
    assert fold(text[:cut]).text + fold(text[cut:]).text == fold(text).text


@given(TEXTS)
def test_folding_twice_changes_nothing(text):
    folded = fold(text).text
    assert fold(folded).text == folded


@given(TEXTS)
def test_offsets_lead_back_to_the_code_point_that_folded(text):
    folded = fold(text)
    offsets = folded.offsets if folded.offsets is not None else list(range(len(text)))
    assert len(offsets) == len(folded.text)
    assert offsets == sorted(offsets)
    rebuilt = "".join(fold(text[index]).text for index in sorted(set(offsets)))
    assert rebuilt == folded.text


@given(TEXTS)
def test_canonically_equal_latin_texts_fold_alike(text):
    latin = "".join(c for c in text if c.isascii() or unicodedata.name(c, "").startswith("LATIN"))
    composed, decomposed = unicodedata.normalize("NFC", latin), unicodedata.normalize("NFD", latin)
    assert fold(composed).text == fold(decomposed).text


def test_every_assigned_code_point_folds_to_something_stable():
    for point in range(sys.maxunicode + 1):
        char = chr(point)
        if unicodedata.category(char) in ("Cn", "Co", "Cs"):
            continue
        folded = fold(char).text
        assert fold(folded).text == folded, hex(point)


@pytest.mark.attack(35)
@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Bomb", "bomb"),
        ("ＢＯＭＢ", "bomb"),
        ("𝐛𝗈𝓂𝖇", "bomb"),
        ("ⓑⓞⓜⓑ", "bomb"),
        ("🅑🅞🅜🅑", "bomb"),
        ("🇧🇴🇲🇧", "bomb"),
        ("ᵇᵒᵐᵇ", "bomb"),
        ("ʙᴏᴍʙ", "bomb"),
        ("во\u043c\u0432", "bomb"),
        ("βομβ", "bomb"),
        ("b\u200bo\u00adm\u2060b", "bomb"),
        ("b\u0336o\u0337m\u0338b\u20dd", "bomb"),
        ("b\ufe0fomb\U000e0062", "bomb"),
        ("b\x00o\x08mb", "bomb"),
        ("Straße", "strasse"),
        ("đường", "duong"),
        ("٤١١١ ४", "4111 4"),
        ("a\u00a0b\u3000c\u2028d", "a b c\nd"),
        ("كَتَـبَ", "كتب"),
        ("กู้", "กู"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_disguises_and_scripts(text, folded):
    assert fold(text).text == folded


def test_runs_of_ignorable_characters_are_counted_across_borders():
    def run(text, before=0):
        return ignorable_run(fold(text), len(text), before)

    assert run("abc") == (0, 0)
    assert run("abc", before=7) == (0, 0)
    assert run("") == (0, 0)
    assert run("", before=7) == (7, 7)
    assert run("a\u200b\u200bb\u200b") == (2, 1)
    assert run("\u200b\u200b", before=3) == (5, 5)
    assert run("\u200bx", before=3) == (4, 0)


@given(TEXTS, st.data())
def test_runs_do_not_depend_on_where_a_text_is_cut(text, data):
    cut = data.draw(st.integers(0, len(text)))
    head, ending = ignorable_run(fold(text[:cut]), cut, 0)
    tail, last = ignorable_run(fold(text[cut:]), len(text) - cut, ending)
    assert (max(head, tail), last) == ignorable_run(fold(text), len(text), 0)
