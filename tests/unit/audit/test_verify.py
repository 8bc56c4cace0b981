"""A receipt says no after one changed byte anywhere, and after every other change we could think of."""

from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audit.facts import encode_entry
from services.audit.tlog import merkle
from services.audit.tlog.canonical import Json, encode
from services.audit.tlog.checkpoint import Checkpoint, sign_checkpoint
from services.audit.tlog.entry import CHANGED, SETTLED, answer_hash, decode_entry
from services.audit.tlog.note import Note, Signer, parse_note
from services.audit.tlog.receipt import Receipt, ReceiptInvalid, assemble_receipt, evidence, parse_receipt
from services.audit.tlog.verify import verify_receipt

SIGNER = Signer("example.com/log", bytes(range(32)))
KEY = str(SIGNER.verifier)
ANSWERS = ('The law says: "yes",\n\tแน่นอน – 是的 🙂',)
INDEX = 5


def settled(answers: tuple[str, ...], **more: Json) -> bytes:
    fields: dict[str, Json] = {
        "answer_hash": answer_hash(answers).hex(),
        "money": {"currency": "EUR", "total": 12345678901234567},
        "request": "01890a5d-ac96-774b-bcce-b302099a8057",
        "seq": 3,
        "verdict": "allow",
    }
    return encode_entry(SETTLED, fields | more)


def receipt_of(entry: bytes, answers: tuple[str, ...] = ANSWERS, signer: Signer = SIGNER) -> Receipt:
    leaves = [merkle.leaf_hash(entry if number == INDEX else b"other %d" % number) for number in range(11)]

    def node(height: int, number: int) -> bytes:
        return merkle.fold(leaves[number << height : number + 1 << height])

    checkpoint = Checkpoint(signer.name, len(leaves), merkle.root(node, len(leaves)))
    proof = tuple(merkle.inclusion_proof(node, INDEX, len(leaves)))
    return Receipt(answers, entry, INDEX, proof, sign_checkpoint(checkpoint, signer))


RECEIPT = receipt_of(settled(ANSWERS))
DATA = RECEIPT.encode()


def test_a_receipt_verifies() -> None:
    found = verify_receipt(DATA, KEY)
    assert found.receipt == RECEIPT
    assert found.entry["seq"] == 3
    assert found.checkpoint.size == 11
    assert verify_receipt(DATA, KEY + "\n") == found
    assert str(found).startswith("request 01890a5d-ac96-774b-bcce-b302099a8057, answer of ")
    assert str(found).endswith("is entry 5 of the 11 that example.com/log signed for")


def test_no_after_one_flipped_byte_anywhere() -> None:
    for place in range(len(DATA)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            changed = bytearray(DATA)
            changed[place] ^= mask
            with pytest.raises(ReceiptInvalid):
                verify_receipt(bytes(changed), KEY)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(0, len(DATA)), st.binary(max_size=8))
def test_no_after_any_splice(start: int, stop: int, between: bytes) -> None:
    changed = DATA[:start] + between + DATA[stop:]
    if changed != DATA:
        with pytest.raises(ReceiptInvalid):
            verify_receipt(changed, KEY)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_to_anything_else(data: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        verify_receipt(data, KEY)


def test_no_when_cut_or_longer() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ReceiptInvalid):
            verify_receipt(DATA[:length], KEY)
    for more in (b"\n", b" ", b"\0", b"{}", DATA):
        with pytest.raises(ReceiptInvalid):
            verify_receipt(DATA + more, KEY)
        with pytest.raises(ReceiptInvalid):
            verify_receipt(more + DATA, KEY)


VALUE = json.loads(DATA)
SPELLINGS = {
    "keys in another order": json.dumps(
        dict(reversed(list(VALUE.items()))), separators=(",", ":"), ensure_ascii=False
    ),
    "spaces": json.dumps(VALUE, sort_keys=True, ensure_ascii=False),
    "escapes": json.dumps(VALUE, sort_keys=True, separators=(",", ":")),
    "indented": json.dumps(VALUE, sort_keys=True, separators=(",", ":"), ensure_ascii=False, indent=1),
    "a doubled key": DATA.decode().strip().replace('"index":5', '"index":5,"index":5'),
    "a doubled key with another value first": DATA.decode()
    .strip()
    .replace('"index":5', '"index":4,"index":5'),
    "a float": DATA.decode().strip().replace('"index":5', '"index":5.0'),
    "an exponent": DATA.decode().strip().replace('"index":5', '"index":5e0'),
    "a string for a number": DATA.decode().strip().replace('"index":5', '"index":"5"'),
    "true for a number": DATA.decode().strip().replace('"index":5', '"index":true'),
    "upper case": DATA.decode().strip().replace(RECEIPT.proof[0].hex(), RECEIPT.proof[0].hex().upper()),
    "spaced digits": DATA.decode().strip().replace(RECEIPT.proof[0].hex(), RECEIPT.proof[0].hex(" ")),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_no_to_another_spelling(name: str) -> None:
    changed = SPELLINGS[name].encode() + b"\n"
    assert changed != DATA
    with pytest.raises(ReceiptInvalid):
        verify_receipt(changed, KEY)


def other(**changes: Json) -> bytes:
    return encode(VALUE | changes) + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        other(extra=1),
        other(format="freehold-receipt-2"),
        other(answers=["another"]),
        other(answers=[*ANSWERS, ""]),
        other(answers=[]),
        other(answers="text"),
        other(answers=[1]),
        other(answers=["\0"]),
        other(index=4),
        other(index=-1),
        other(index=1 << 80),
        other(proof=VALUE["proof"][::-1]),
        other(proof=VALUE["proof"][:-1]),
        other(proof=[*VALUE["proof"], VALUE["proof"][0]]),
        other(proof=[1]),
        other(proof=["é" * 64]),
        other(entry="text"),
        other(entry=[]),
        other(entry=VALUE["entry"] | {"seq": 4}),
        other(entry=VALUE["entry"] | {"more": None}),
        other(entry={}),
        other(checkpoint=""),
        other(checkpoint=VALUE["checkpoint"] + "\n"),
        encode({name: value for name, value in VALUE.items() if name != "answers"}) + b"\n",
        encode([VALUE]) + b"\n",
    ],
)
def test_no_to_other_content(data: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        verify_receipt(data, KEY)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "nonsense",
        str(Signer("example.com/log", bytes(32)).verifier),
        str(Signer("example.com/lag", SIGNER.seed).verifier),
        SIGNER.secret_text(),
        KEY + " ",
    ],
)
def test_no_under_another_key(key: str) -> None:
    with pytest.raises(ReceiptInvalid):
        verify_receipt(DATA, key)


def test_no_to_a_log_signed_by_somebody_else() -> None:
    forged = receipt_of(settled(ANSWERS), signer=Signer("example.com/log", bytes(32)))
    with pytest.raises(ReceiptInvalid, match="no signature"):
        verify_receipt(forged.encode(), KEY)


def test_no_to_a_witness_line_which_nobody_checks() -> None:
    note = parse_note(RECEIPT.checkpoint)
    more = Note(note.text, (*note.signatures, *Signer("witness", bytes(32)).sign(note.text).signatures))
    changed = dataclasses.replace(RECEIPT, checkpoint=more.encode())
    with pytest.raises(ReceiptInvalid, match="more than one"):
        verify_receipt(changed.encode(), KEY)


def test_no_to_an_entry_that_is_of_no_request() -> None:
    entry = encode_entry(CHANGED, {"answer_hash": answer_hash(ANSWERS).hex()})
    with pytest.raises(ReceiptInvalid, match="not of a request"):
        verify_receipt(receipt_of(entry).encode(), KEY)


def test_a_request_without_answer() -> None:
    nothing = receipt_of(settled((), answer_hash=""), answers=())
    assert verify_receipt(nothing.encode(), KEY).receipt.answers == ()
    with pytest.raises(ReceiptInvalid, match="another answer"):
        verify_receipt(receipt_of(settled((), answer_hash=""), answers=("x",)).encode(), KEY)
    with pytest.raises(ReceiptInvalid, match="another answer"):
        verify_receipt(receipt_of(settled(ANSWERS), answers=()).encode(), KEY)


def test_the_client_assembles_the_file_from_answer_and_evidence() -> None:
    found = evidence(RECEIPT.entry, RECEIPT.index, RECEIPT.proof, RECEIPT.checkpoint)
    sent = json.loads(json.dumps({"status": "ready", **found}))
    assert assemble_receipt(ANSWERS, sent) == DATA
    assert parse_receipt(DATA) == RECEIPT
    with pytest.raises(ReceiptInvalid, match="another answer"):
        assemble_receipt(["another"], sent)
    with pytest.raises(ReceiptInvalid, match="Unicode"):
        assemble_receipt(["\ud800"], sent)
    for missing in found:
        with pytest.raises(ReceiptInvalid):
            assemble_receipt(ANSWERS, {name: value for name, value in sent.items() if name != missing})


def test_several_choices_are_bound_in_their_order() -> None:
    answers = ("one", "", "three")
    data = receipt_of(settled(answers), answers).encode()
    assert verify_receipt(data, KEY).receipt.answers == answers
    for wrong in (("three", "", "one"), ("one", "three"), ("onethree",), ("one\0", "three")):
        changed = dataclasses.replace(parse_receipt(data), answers=wrong).encode()
        with pytest.raises(ReceiptInvalid):
            verify_receipt(changed, KEY)


def test_entries_stay_below_the_bundles_limit() -> None:
    with pytest.raises(ValueError, match="above 65535"):
        encode_entry(SETTLED, {"model": "x" * 65_536})
    assert decode_entry(encode_entry(SETTLED, {"model": "x"})) == {"format": 1, "kind": SETTLED, "model": "x"}
    for wrong in (b"[]", b"{}", b'{"format":2,"kind":"RequestSettled"}', b'{"format":1,"kind":1}'):
        with pytest.raises(ValueError, match="not an entry"):
            decode_entry(wrong)


def test_the_verifier_needs_nothing_but_cryptography() -> None:
    program = (
        "import sys; before = set(sys.modules); import services.audit.tlog.verify; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(found.stdout)) <= {"services", "cryptography", "_cffi_backend", "_openssl"}
