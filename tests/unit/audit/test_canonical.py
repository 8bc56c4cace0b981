"""Canonical JSON: one value, one encoding, and nothing else accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.tlog.canonical import NotCanonical, decode, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_values_come_back(value: object) -> None:
    assert decode(encode(value)) == value  # type: ignore[arg-type]


def test_the_encoding() -> None:
    value = {"b": [1, -2, None, True], "a": 'é\u2028"\\\n\x1f/', "": {}}
    assert encode(value) == '{"":{},"a":"é\u2028\\"\\\\\\n\\u001f/","b":[1,-2,null,true]}'.encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b" 1",
        b"1 ",
        b"1\n",
        b"[1, 2]",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'"\\u0061"',
        b'"\\/"',
        b'"\\u00E9"',
        b'"\\ud800"',
        b'"\\u001F"',
        b'"\\u000a"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b"\xef\xbb\xbf1",
        b"9" * 5000,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode(data)


def test_a_lone_surrogate_has_no_encoding() -> None:
    with pytest.raises(NotCanonical):
        encode("\ud800")
