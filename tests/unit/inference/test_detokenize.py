"""Ids to text: whole code points, each id's text once, the same text as decoding all bytes at once."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.inference.streams.detokenize import Detokenizer, Texts
from services.inference.streams.output import Columns, Output

SCRIPTS = "สวัสดีชาวโลก مرحبا بالعالم 你好，世界 👩‍👩‍👧‍👦🇹🇭 Tiếng Việt ẞß e\u0301"
OCTETS = Texts([bytes([octet]) for octet in range(256)] + [b""])
CONTROL = 256

octets = st.binary(max_size=40).map(list)
texts = st.text(max_size=12).map(lambda text: list(text.encode()))


def run(ids: Sequence[int], prefix: Sequence[int] = (), stops: Sequence[str] = ()) -> Columns:
    out = Columns()
    output = Output("s", OCTETS, stops, prefix)
    for token in ids:
        if output.push(token, out):
            return out
    output.finish(out)
    return out


def test_every_script_comes_out_whole() -> None:
    ids = list(SCRIPTS.encode())
    out = run(ids)
    assert "".join(out.texts) == SCRIPTS
    assert out.ids == ids
    assert sum(out.lengths) == len(SCRIPTS)


@given(st.one_of(octets, texts))
def test_text_equals_decoding_at_once_and_ids_are_complete(ids: list[int]) -> None:
    out = run(ids)
    assert "".join(out.texts) == bytes(ids).decode(errors="replace")
    assert out.ids == ids
    assert out.indices == [sum(out.counts[:place]) for place in range(len(out.counts))]
    assert len(out.lengths) == len(ids)


@given(st.one_of(octets, texts))
def test_each_entry_has_the_text_that_its_lengths_say(ids: list[int]) -> None:
    out = run(ids)
    at = 0
    for text, count in zip(out.texts, out.counts, strict=True):
        assert len(text) == sum(out.lengths[at : at + count])
        at += count


@given(st.text(min_size=1, max_size=12), st.data())
def test_a_resumed_stream_says_what_the_whole_one_says(text: str, data: st.DataObject) -> None:
    ids = list(text.encode())
    cut = data.draw(st.integers(0, len(ids)))
    rest = run(ids[cut:], prefix=ids[:cut])
    assert "".join(rest.texts) == text[len(ids_text(ids[:cut])) :]
    assert rest.ids == ids[cut:]
    assert rest.indices[:1] == ([cut] if cut < len(ids) else [])


def ids_text(ids: list[int]) -> str:
    return Detokenizer(OCTETS).skip(ids)


def test_an_id_waits_for_its_code_point() -> None:
    out = Columns()
    output = Output("s", OCTETS, (), ())
    for token in "ไ".encode()[:2]:
        output.push(token, out)
    assert out.ids == []
    output.push("ไ".encode()[2], out)
    assert (out.texts, out.lengths, out.counts) == (["ไ"], [0, 0, 1], [3])


def test_an_unfinished_code_point_ends_as_a_replacement() -> None:
    out = run([*b"a", *"ไ".encode()[:2]])
    assert "".join(out.texts) == "a\ufffd"
    assert out.lengths == [1, 0, 1]


def test_control_ids_have_no_text_but_an_index() -> None:
    out = run([CONTROL, *b"a", CONTROL])
    assert ("".join(out.texts), out.ids, out.lengths) == ("a", [CONTROL, 97, CONTROL], [0, 1, 0])


def test_noise_without_a_border_is_given_out_all_the_same() -> None:
    halves = Texts([b"\x80\xe0\xb8"])
    out = Columns()
    output = Output("s", halves, (), ())
    for _ in range(100):
        output.push(0, out)
    assert len(out.ids) > 80
