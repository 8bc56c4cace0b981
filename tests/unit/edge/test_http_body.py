"""Strict JSON: what is let in, what is refused, and how long that takes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.http.body import ClientGone, check_media, json_strict, read_body, shown
from shared.errors import FreeholdError, Kind

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**19) + 1, 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def refusal(body: bytes) -> Kind | None:
    """The kind of this body's refusal; None = it is taken."""
    try:
        json_strict(body)
    except FreeholdError as error:
        return error.kind
    return None


@given(VALUES, st.booleans())
def test_a_json_text_comes_back_as_its_value(value: object, ascii_only: bool) -> None:
    assert json_strict(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_bad_request(body: bytes) -> None:
    assert refusal(body) in (None, Kind.BAD_REQUEST)


@given(st.text(alphabet='[]{}",:\\u01e5-+.NaInfity \n', max_size=80))
def test_almost_json_is_a_value_or_a_bad_request(text: str) -> None:
    assert refusal(text.encode()) in (None, Kind.BAD_REQUEST)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        (b'{"a": "\x00"}', "not JSON"),
        (b"{} {}", "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"[" * 33 + b"]" * 33, "deeper"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "deeper"),
        (b"[" * 40 + b"]" * 39, "do not match"),
        (b"[" + b"1," * 20_001 + b"1]", "values"),
    ],
)
def test_what_is_no_strict_json_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(FreeholdError, match=says) as caught:
        json_strict(body)
    assert caught.value.kind is Kind.BAD_REQUEST


@pytest.mark.parametrize("body", [b'{"model":"a","model":"b"}', b'{"x":[{"model":1,"y":2,"model":1}]}'])
def test_a_doubled_name_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(FreeholdError) as caught:
        json_strict(body)
    assert caught.value.param == "model"


def test_depth_32_passes_and_brackets_in_texts_do_not_count() -> None:
    assert json_strict(b"[" * 32 + b"]" * 32)
    text = "[{" * 40_000 + '"\\' + "," * 40_000
    assert json_strict(json.dumps({"a": [text] * 3, "b": [[]] * 40}).encode()) == {
        "a": [text] * 3,
        "b": [[]] * 40,
    }


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        (b"1e400", math.inf),
        (b"-1e400", -math.inf),
        (b"Infinity", math.inf),
        (b"9" * 4000, math.inf),
        (b"-" + b"9" * 5000, -math.inf),
        (b"18446744073709551615", 2**64 - 1),
    ],
)
def test_numbers_that_no_field_can_hold_come_back_as_infinities(digits: bytes, value: float) -> None:
    assert json_strict(b'{"n":%s}' % digits) == {"n": value}
    assert math.isnan(json_strict(b"NaN"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" + b"[]," * 340_000 + b"[]]",
        b'{"' + b'\\"' * 520_000,
        b'"\\"' * 340_000,
        b"{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}",
        b"{" + b",".join(b'"%d":1' % number for number in range(19_000)) + b',"1":1}',
        b"[" + b",".join([b"[" * 30 + b"]" * 30] * 650) + b"]",
        b'{"n":1' + b"0" * 1_000_000 + b".5}",
    ],
    ids=["open", "deep", "empties", "unclosed", "quotes", "names", "doubled", "groups", "digits"],
)
def test_no_megabyte_holds_the_loop_for_long(body: bytes) -> None:
    begin = time.process_time()
    assert refusal(body) in (None, Kind.BAD_REQUEST)
    # 25 ms at most where this was measured; quadratic behaviour takes seconds.
    assert time.process_time() - begin < 0.2


@given(st.text())
def test_a_shown_name_is_short_printable_ascii(name: str) -> None:
    assert shown(name).isascii()
    assert shown(name).isprintable()
    assert len(shown(name)) <= 64 * 10


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (b"", b""),
        (b"text/plain", b""),
        (b"application/jsonx", b""),
        (b"multipart/form-data; boundary=x", b""),
        (b"application/json; charset=utf-16", b""),
        (b"application/json", b"gzip"),
        (b"application/json", b"identity, br"),
    ],
)
def test_other_media_are_refused(content_type: bytes, encoding: bytes) -> None:
    with pytest.raises(FreeholdError) as caught:
        check_media(content_type, encoding)
    assert caught.value.kind is Kind.NOT_JSON


def test_json_in_utf8_is_taken() -> None:
    check_media(b"application/json", b"")
    check_media(b'Application/JSON; charset="UTF-8"', b"identity")


def receiver(*messages: dict[str, Any]) -> Any:
    """An ASGI receive that gives these."""
    left = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        return left.pop(0)

    return receive


async def test_a_body_is_joined_up_to_its_limit() -> None:
    parts = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cd"},
    ]
    assert await read_body(receiver(*parts), 4) == b"abcd"
    with pytest.raises(FreeholdError) as caught:
        await read_body(receiver(*parts), 3)
    assert caught.value.kind is Kind.TOO_LARGE


async def test_a_client_that_leaves_in_its_body_is_gone() -> None:
    with pytest.raises(ClientGone):
        await read_body(
            receiver({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}),
            9,
        )
