"""Stop sequences: what they cut, what they hold, wherever the borders of tokens fall."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.streams.detokenize import Texts
from services.inference.streams.output import Columns, Output
from services.inference.streams.stops import LONGEST_STOP, MOST_STOPS, StopMatcher

letters = st.text(alphabet="ab\n", max_size=30)
stop_lists = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=5), min_size=1, max_size=4)


def cut_at_first(text: str, stops: list[str]) -> tuple[str, int] | None:
    """The obvious definition: the first place where any stop is complete, the longest of those."""
    for end in range(1, len(text) + 1):
        matching = [stop for stop in stops if text[:end].endswith(stop)]
        if matching:
            return text[: end - max(map(len, matching))], end
    return None


def split(text: str, borders: list[int]) -> list[str]:
    places = sorted({border % (len(text) + 1) for border in borders} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


@given(letters, stop_lists, st.lists(st.integers(0, 99), max_size=8))
def test_matches_the_obvious_definition(text: str, stops: list[str], borders: list[int]) -> None:
    matcher = StopMatcher(stops)
    expected = cut_at_first(text, stops)
    for piece in split(text, borders):
        found = matcher.push(piece)
        if found is not None:
            assert expected is not None
            assert found == len(expected[0])
            return
    assert expected is None
    live = max((n for stop in stops for n in range(len(stop)) if text.endswith(stop[:n])), default=0)
    assert matcher.live == live


@pytest.mark.attack(25)
@given(letters, stop_lists, st.lists(st.integers(0, 99), max_size=8), st.integers(0, 30))
def test_output_never_holds_a_stop_or_part_of_one(
    text: str, stops: list[str], borders: list[int], resumed: int
) -> None:
    pieces = split(text, borders)
    texts = Texts([piece.encode() for piece in pieces])
    ids = list(range(len(pieces)))
    out = Columns()
    output = Output("s", texts, stops, ())
    ended = False
    for token in ids:
        if output.push(token, out):
            ended = True
            break
        assert not any(stop in "".join(out.texts) for stop in stops)
    given_out = list(out.ids)
    if not ended:
        output.finish(out)
    expected = cut_at_first(text, stops)
    assert "".join(out.texts) == (text if expected is None else expected[0])
    assert out.ids == ids[: len(out.ids)]
    assert sum(out.lengths) == sum(map(len, out.texts))
    if not ended:
        assert len(out.ids) == len(ids)

    # What was given out before the end may be a prefix: the next attempt says the rest.
    cut = min(resumed, len(given_out))
    again = Output("s", texts, stops, ids[:cut])
    if again.ended_by_prefix():
        assert cut == len(out.ids)
        return
    rest = Columns()
    for token in ids[cut:]:
        if again.push(token, rest):
            break
    else:
        again.finish(rest)
    whole = "".join(out.texts)
    assert "".join(rest.texts) == whole[sum(out.lengths[:cut]) :]
    assert rest.ids == out.ids[cut:]


def test_a_stop_over_three_ids_cuts_inside_the_first() -> None:
    texts = Texts([b"one E", b"N", b"D two", b" three"])
    out = Columns()
    output = Output("s", texts, ["END"], ())
    assert not output.push(0, out)
    assert out.ids == []
    assert not output.push(1, out)
    assert output.push(2, out)
    assert (out.texts, out.ids, out.lengths) == (["one "], [0, 1, 2], [4, 0, 0])


def test_text_that_was_no_stop_after_all_comes_out() -> None:
    texts = Texts([b"E", b"N", b"X"])
    out = Columns()
    output = Output("s", texts, ["END"], ())
    for token in (0, 1, 2):
        assert not output.push(token, out)
    assert "".join(out.texts) == "ENX"


def test_multibyte_stops_over_partial_code_points() -> None:
    octets = Texts([bytes([octet]) for octet in range(256)])
    out = Columns()
    output = Output("s", octets, ["。停"], ())
    octets_taken = 0
    for token in "你好。停止".encode():
        octets_taken += 1
        if output.push(token, out):
            break
    assert "".join(out.texts) == "你好"
    assert octets_taken == len(out.ids) == len("你好。停".encode())


@pytest.mark.attack(25)
@pytest.mark.parametrize("stops", [[""], ["x" * (LONGEST_STOP + 1)], ["x"] * (MOST_STOPS + 1)])
def test_stops_are_bounded(stops: list[str]) -> None:
    with pytest.raises(ValueError, match="stops"):
        StopMatcher(stops)
