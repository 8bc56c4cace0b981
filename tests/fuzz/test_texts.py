"""Texts from outside: receipts, notes, tiles, packs, configuration, bodies; and the events that go out."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.tlog.checkpoint import open_checkpoint
from services.audit.tlog.note import NoteInvalid, parse_note, parse_signer, parse_verifier
from services.audit.tlog.receipt import ReceiptInvalid, parse_receipt
from services.audit.tlog.tiles import decode_bundle, encode_bundle
from services.audit.tlog.verify import verify_receipt
from services.edge.dialects.openai_answers import Chunks, Heading
from services.edge.http.body import json_strict
from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import PackError, load_pack
from shared.bus.envelope import EnvelopeError, parse_envelope
from shared.bus.ports import Record
from shared.configuration import KINDS, Configuration
from shared.errors import FreeholdError, Kind
from tests.fuzz.conftest import CHANCES, examples
from tests.fuzz.mutations import damaged, headers, twisted
from tests.integration.edge_front import CHAT
from tests.unit.audit.test_verify import DATA, KEY, RECEIPT, SIGNER

PACKS = Path(__file__).parents[2] / "ops" / "policies"
SMALL = """
pack: small
version: 1
window: 64
rules:
  - id: cards
    category: privacy
    action: redact
    label: card
    direction: both
    legal_basis: "a law"
    description: "card numbers"
    patterns: ['[0-9]{4} [0-9]{4}']
    examples: ["1234 5678"]
    passes: ["12"]
"""
ANY = st.text(st.characters(codec=None), max_size=200)
"""Lone surrogates as well: JSON has escapes for them."""


@examples(300)
@given(chance=CHANCES)
def test_any_change_of_a_receipt_is_refused(chance: random.Random) -> None:
    changed = damaged(chance, DATA)
    if changed != DATA:
        with pytest.raises(ReceiptInvalid):
            verify_receipt(changed, KEY)


@examples(200)
@given(
    fields=st.dictionaries(
        st.sampled_from(sorted(json.loads(DATA))), st.one_of(ANY, st.integers(), st.lists(ANY))
    )
)
def test_receipts_of_other_types_are_refused(fields: dict[str, object]) -> None:
    changed = (
        json.dumps({**json.loads(DATA), **fields}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    )
    try:
        parse_receipt(changed)
        verify_receipt(changed, KEY)
    except ReceiptInvalid:
        return
    assert changed == DATA


@examples(300)
@given(text=ANY, chance=CHANCES)
def test_notes_and_keys_are_read_or_refused(text: str, chance: random.Random) -> None:
    for given_text in (text, damaged(chance, RECEIPT.checkpoint.encode()).decode("utf-8", "surrogateescape")):
        for read in (
            parse_note,
            parse_verifier,
            parse_signer,
            lambda note: open_checkpoint(note, SIGNER.verifier),
        ):
            try:
                read(given_text)
            except NoteInvalid:
                continue


@examples(200)
@given(data=st.binary(max_size=300), entries=st.lists(st.binary(max_size=40), max_size=8))
def test_bundles_are_read_or_refused(data: bytes, entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries
    try:
        found = decode_bundle(data)
    except ValueError:
        return
    assert encode_bundle(found) == data


@examples(200)
@given(chance=CHANCES)
def test_packs_are_read_and_compiled_or_refused(chance: random.Random) -> None:
    text = damaged(chance, SMALL.encode()).decode("utf-8", "replace")
    try:
        compile_pack(load_pack(text))
    except PackError:
        return


@pytest.mark.attack(30)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a: " * 50_000,
        "a: &a [x]\nb: [*a,*a]",
        "pack: !!python/object:os.system x",
        "pack: " + "9" * 10_000,
        "version: 2001-99-99",
        "? [a]\n: b",
        "\0",
        "",
        SMALL.replace("[0-9]{4} [0-9]{4}", "(a+)+$"),
        SMALL.replace("[0-9]{4} [0-9]{4}", "(" * 5000 + "a" + ")" * 5000),
        SMALL.replace("[0-9]{4} [0-9]{4}", "(a{1000}){1000}"),
        SMALL.replace("[0-9]{4} [0-9]{4}", "|".join(f"a{number}" for number in range(10_000))),
    ],
    ids=str,
)
def test_packs_that_break_readers_are_refused(text: str) -> None:
    with pytest.raises(PackError):
        compile_pack(load_pack(text))


def test_the_pack_of_these_tests_is_a_good_one() -> None:
    assert compile_pack(load_pack(SMALL)).pack.id == "small"


@examples(300)
@given(chance=CHANCES, kind=st.sampled_from(sorted(KINDS)), data=st.binary(max_size=60))
def test_configuration_is_taken_or_the_last_good_one_stays(
    chance: random.Random, kind: str, data: bytes
) -> None:
    known = Configuration()
    for value in (data, twisted(chance, KINDS[kind]()).SerializeToString(), b""):
        for key in (f"{kind}/x".encode(), damaged(chance, f"{kind}/x".encode()), None):
            try:
                known.apply(Record("config", 0, 7, 0, key, value, ()))
            except ValueError:
                continue
    assert known.offset == 8


@examples(300)
@given(chance=CHANCES)
def test_an_envelope_is_read_or_refused_and_fits_what_it_is_put_into(chance: random.Random) -> None:
    known = (
        ("type", b"GenerateTokens"),
        ("event_id", b"e"),
        ("from", b"1"),
        ("request", b"01890a5d-ac96-774b-bcce-b302099a8057"),
        ("tenant", b"acme"),
        ("owner", b"18446744073709551615"),
        ("lane", b"3"),
        ("attempt", b"1"),
        ("ttl_ms", b"120000"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )
    try:
        found = parse_envelope(headers(chance, known))
    except EnvelopeError:
        return
    assert found.request in ("", "01890a5d-ac96-774b-bcce-b302099a8057") or len(found.request) == 36
    assert max(found.lane, found.attempt, found.revision) < 1 << 31
    assert max(found.ttl_ms, found.config_offset) < 1 << 63
    assert max(found.owner, found.to, found.sender) < 1 << 64
    assert found.traceparent.isascii()
    assert found.tenant.isprintable()


@examples(300)
@given(text=st.text(max_size=300))
def test_any_text_is_one_event_and_comes_out_whole(text: str) -> None:
    """Line ends of any kind would end an event within its text."""
    event = Chunks(Heading("r", 1, "m", "fp"), True).text(0, text)
    assert event.endswith(b"\n\n")
    (line,) = event.removesuffix(b"\n\n").split(b"\n")
    assert b"\r" not in line
    assert json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == text


def bad_request(error: FreeholdError) -> None:
    """Fail where it is another, or could drive a terminal."""
    assert error.kind is Kind.BAD_REQUEST
    assert error.message.isprintable()


@pytest.mark.attack(13, 14, 15, 16)
@examples(400)
@given(chance=CHANCES, data=st.binary(max_size=100))
def test_any_body_is_a_value_or_a_bad_request(chance: random.Random, data: bytes) -> None:
    for body in (data, damaged(chance, json.dumps(CHAT).encode())):
        try:
            found = json_strict(body)
        except FreeholdError as error:
            bad_request(error)
            continue
        assert json.loads(body) == found or found != found  # noqa: PLR0124 - NaN is not itself
