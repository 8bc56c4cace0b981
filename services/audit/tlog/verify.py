"""Verify a receipt file offline: no database, no network, no configuration, only the log's public key.

Depends on the standard library, `cryptography` and this folder's pure modules, so that an auditor can
read all of it. Every byte of a receipt is covered: the file must be the one encoding of what it says, its
answer is bound by the entry's hash, entry, index and proof by the checkpoint's root, and the checkpoint,
which may carry no other signature, by the log's key.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.audit.tlog.checkpoint import Checkpoint, open_sole_checkpoint
from services.audit.tlog.entry import Entry
from services.audit.tlog.merkle import ProofInvalid, leaf_hash, verify_inclusion
from services.audit.tlog.note import NoteInvalid, parse_verifier
from services.audit.tlog.receipt import Receipt, ReceiptInvalid, check_answer, parse_receipt

__all__ = ["ReceiptInvalid", "Verified", "verify_receipt"]


@dataclass(frozen=True)
class Verified:
    """What a receipt proves: the log of this key holds this account of this answer."""

    receipt: Receipt
    entry: Entry
    """The account: request, model, digests, verdicts, counts and money, by field name."""
    checkpoint: Checkpoint

    def __str__(self) -> str:
        size = sum(map(len, self.receipt.answers))
        return (
            f"request {self.entry['request']}, answer of {size} characters, is entry {self.receipt.index} "
            f"of the {self.checkpoint.size} that {self.checkpoint.origin} signed for"
        )


def verify_receipt(data: bytes, public_key: str) -> Verified:
    """What the receipt file `data` proves under the log's verifier key (`name+id+key`, as the log's
    operator hands it out; a newline at its end is allowed).

    Raises `ReceiptInvalid` with the reason, for whatever bytes it is given.
    """
    receipt = parse_receipt(data)
    entry = check_answer(receipt)
    try:
        checkpoint = open_sole_checkpoint(receipt.checkpoint, parse_verifier(public_key.removesuffix("\n")))
        leaf = leaf_hash(receipt.entry)
        verify_inclusion(leaf, receipt.index, checkpoint.size, receipt.proof, checkpoint.root)
    except (NoteInvalid, ProofInvalid) as error:
        raise ReceiptInvalid(str(error)) from None
    return Verified(receipt, entry, checkpoint)
