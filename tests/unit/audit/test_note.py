"""C2SP signed notes, keys and checkpoints: the specification's own example, and every way to be wrong."""

from __future__ import annotations

import base64

import pytest

from services.audit.tlog.checkpoint import Checkpoint, open_checkpoint, open_sole_checkpoint, sign_checkpoint
from services.audit.tlog.note import (
    Note,
    NoteInvalid,
    Signature,
    Signer,
    parse_note,
    parse_signer,
    parse_verifier,
)

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONn"
    "cAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
SIGNER = Signer("example.com/log", bytes(range(32)))
CHECKPOINT = Checkpoint("example.com/log", 42, bytes(range(32)))
NOTE = sign_checkpoint(CHECKPOINT, SIGNER)


def test_the_specifications_example_verifies() -> None:
    note = parse_note(EXAMPLE)
    assert note.text == "This is an example message.\n"
    assert note.encode() == EXAMPLE
    parse_verifier(EXAMPLE_KEY).check(note)
    with pytest.raises(NoteInvalid, match="is wrong"):
        parse_verifier(EXAMPLE_KEY).check(Note("This is another message.\n", note.signatures))


def test_keys_come_back_from_their_texts() -> None:
    assert parse_signer(SIGNER.secret_text()) == SIGNER
    assert parse_verifier(str(SIGNER.verifier)) == SIGNER.verifier
    assert SIGNER.secret_text().startswith("PRIVATE+KEY+example.com/log+")
    assert base64.b64encode(SIGNER.seed).decode() not in repr(SIGNER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/log",
        str(SIGNER.verifier) + "\n",
        str(SIGNER.verifier).replace("log+", "lag+"),
        str(SIGNER.verifier)[:-4],
        SIGNER.secret_text(),
        "a b+00000000+AQ==",
    ],
)
def test_broken_verifier_keys(text: str) -> None:
    with pytest.raises(NoteInvalid):
        parse_verifier(text)


def test_broken_private_keys_are_not_quoted() -> None:
    secret = SIGNER.secret_text()
    for text in (secret[:-4], secret.replace("/log+", "/lag+"), "x" + secret, str(SIGNER.verifier)):
        with pytest.raises(NoteInvalid) as failure:
            parse_signer(text)
        assert secret[-40:] not in str(failure.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\x07b"])
def test_names_of_keys(name: str) -> None:
    with pytest.raises(NoteInvalid):
        Signer(name, bytes(32))


def test_a_checkpoint_comes_back() -> None:
    assert NOTE.startswith(
        "example.com/log\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— example.com/log "
    )
    assert open_checkpoint(NOTE, SIGNER.verifier) == CHECKPOINT
    assert open_sole_checkpoint(NOTE, SIGNER.verifier) == CHECKPOINT


def test_a_witness_may_sign_too_but_not_in_a_receipt() -> None:
    witness = Signer("witness.example", bytes(32))
    note = parse_note(NOTE)
    both = Note(note.text, (*note.signatures, *witness.sign(note.text).signatures)).encode()
    assert open_checkpoint(both, SIGNER.verifier) == CHECKPOINT
    assert open_checkpoint(both.replace("— witness", "— another"), SIGNER.verifier) == CHECKPOINT
    with pytest.raises(NoteInvalid, match="more than one"):
        open_sole_checkpoint(both, SIGNER.verifier)


def test_a_second_wrong_signature_of_the_log_spoils_the_note() -> None:
    note = parse_note(NOTE)
    wrong = Signature(SIGNER.name, SIGNER.verifier.key_id, bytes(64))
    with pytest.raises(NoteInvalid, match="is wrong"):
        open_checkpoint(Note(note.text, (*note.signatures, wrong)).encode(), SIGNER.verifier)


def test_a_log_signs_only_for_itself() -> None:
    with pytest.raises(NoteInvalid):
        sign_checkpoint(Checkpoint("example.com/other", 1, bytes(32)), SIGNER)
    foreign = SIGNER.sign(Checkpoint("example.com/other", 1, bytes(32)).text()).encode()
    with pytest.raises(NoteInvalid, match="another log"):
        open_checkpoint(foreign, SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "example.com/log\n042\n" + "A" * 43 + "=\n",
        "example.com/log\n-1\n" + "A" * 43 + "=\n",
        "example.com/log\n٤٢\n" + "A" * 43 + "=\n",
        "example.com/log\n42\n" + "A" * 42 + "B=\n",
        "example.com/log\n42\nAAAA\n",
        "example.com/log\n42\n" + "A" * 43 + "=\nextension\n",
        "example.com/log\n42\n",
        "example.com/log\n9223372036854775807\n" + "A" * 43 + "=\n",
        "\n42\n" + "A" * 43 + "=\n",
    ],
)
def test_signed_texts_that_are_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteInvalid):
        open_checkpoint(SIGNER.sign(text).encode(), SIGNER.verifier)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note[:-1],
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("— ", "- "),
        lambda note: note.replace("— ", "—  "),
        lambda note: note.replace("=\n", "\n"),
        lambda note: note[:-2] + "\n",
        lambda note: note + "\n",
        lambda note: note.replace("42", "43"),
        lambda note: note.replace("42", "42\r"),
        lambda note: note.split("— ")[0] + "— example.com/log AAAAAA==\n",
        lambda note: note + ("— " + note.split("— ")[1]) * 16,
        lambda _: "",
    ],
)
def test_broken_notes(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NoteInvalid):
        open_checkpoint(change(NOTE), SIGNER.verifier)


def test_unused_bits_of_base64_are_not_free() -> None:
    """The last character before `=` carries two bits that say nothing; only one spelling is accepted."""
    last = NOTE[-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = alphabet[alphabet.index(last) | 1]
    assert same != last
    with pytest.raises(NoteInvalid, match="one form"):
        parse_note(NOTE[:-3] + same + NOTE[-2:])
