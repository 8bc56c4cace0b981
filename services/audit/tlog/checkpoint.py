"""C2SP checkpoints: a signed note that says how large a log is and what its root hash is. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from services.audit.tlog.merkle import HASH_SIZE, MAX_SIZE
from services.audit.tlog.note import Note, NoteInvalid, Signer, Verifier, parse_note


@dataclass(frozen=True)
class Checkpoint:
    """One state of a log."""

    origin: str
    """Name of the log; also the name of the key that signs it."""
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """The signed note. That no earlier checkpoint contradicts it is the caller's duty.

    Raises `NoteInvalid` where the key is not the log's.
    """
    if signer.name != checkpoint.origin:
        raise NoteInvalid(f"the key of {signer.name} does not sign for {checkpoint.origin}")
    return signer.sign(checkpoint.text()).encode()


def open_checkpoint(encoded: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint in a signed note, if the log of this key signed it. Raises `NoteInvalid`."""
    note = parse_note(encoded)
    verifier.check(note)
    checkpoint = _parse(note)
    if checkpoint.origin != verifier.name:
        raise NoteInvalid("the checkpoint is of another log")
    return checkpoint


def open_sole_checkpoint(encoded: str, verifier: Verifier) -> Checkpoint:
    """As `open_checkpoint`, but no other signature may stand beside the log's own, so that no byte of
    the note is left unverified.
    """
    if len(parse_note(encoded).signatures) != 1:
        raise NoteInvalid("the checkpoint has more than one signature")
    return open_checkpoint(encoded, verifier)


def _parse(note: Note) -> Checkpoint:
    """Extension lines are refused: this log writes none, and no monitor could audit them."""
    lines = note.text.split("\n")
    if len(lines) != 4 or not lines[1].isascii() or not lines[1].isdecimal() or len(lines[1]) > 19:
        raise NoteInvalid("not a checkpoint")
    try:
        found = Checkpoint(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
    except (binascii.Error, ValueError):
        raise NoteInvalid("the root hash is not base64") from None
    if found.text() != note.text or len(found.root) != HASH_SIZE or found.size > MAX_SIZE:
        raise NoteInvalid("the checkpoint is not in its one form")
    return found
