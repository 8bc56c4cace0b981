"""The receipt file: an answer, and the proof that the log holds its account. Pure.

The platform keeps no answer's text: the log has its hash, and the receipts endpoint gives everything but
the text (the *evidence*: entry, index, proof, checkpoint). The client still has the text it was sent, so
the file is made on the client's side, by `assemble_receipt`. It is canonical JSON and one newline:

    {"answers":["text of choice 0"],"checkpoint":"signed note","entry":{...},
     "format":"freehold-receipt-1","index":7,"proof":["64 hexadecimal digits",...]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.audit.tlog.canonical import Json, NotCanonical, decode, encode
from services.audit.tlog.entry import SETTLED, Entry, EntryInvalid, answer_hash, decode_entry
from services.audit.tlog.merkle import HASH_SIZE

FORMAT = "freehold-receipt-1"
MAX_BYTES = 64 << 20
_FIELDS = {"answers", "checkpoint", "entry", "format", "index", "proof"}


class ReceiptInvalid(ValueError):
    """The receipt proves nothing; the message says why, in one sentence."""


@dataclass(frozen=True)
class Receipt:
    """What a receipt file says; nothing in it is verified yet."""

    answers: tuple[str, ...]
    """The text of each choice as the client got it; of a stream, its deltas joined."""
    entry: bytes
    """The entry's exact bytes in the log: canonical JSON of an object."""
    index: int
    """Leaf number in the log, from 0."""
    proof: tuple[bytes, ...]
    """Inclusion proof, the lowest hash first."""
    checkpoint: str
    """Signed note."""

    def encode(self) -> bytes:
        """The file. Raises `ReceiptInvalid`."""
        try:
            found = evidence(self.entry, self.index, self.proof, self.checkpoint)
            return encode({**found, "answers": list(self.answers), "format": FORMAT}) + b"\n"
        except (EntryInvalid, NotCanonical) as error:
            raise ReceiptInvalid(str(error)) from None


def evidence(entry: bytes, index: int, proof: Sequence[bytes], checkpoint: str) -> dict[str, Json]:
    """The JSON value of a receipt without answer, as the receipts endpoint gives it.

    Raises `EntryInvalid`.
    """
    return {
        "checkpoint": checkpoint,
        "entry": decode_entry(entry),
        "index": index,
        "proof": [item.hex() for item in proof],
    }


def assemble_receipt(answers: Sequence[str], found: Mapping[str, Json]) -> bytes:
    """The receipt file of the answer that a client got (the text of each choice) and the evidence that
    the receipts endpoint gave for it; other fields beside the evidence's four are ignored.

    Raises `ReceiptInvalid` where the evidence is not whole or the log holds the hash of another answer.
    Whether the log is to be believed is for `verify_receipt`.
    """
    receipt = _receipt(
        {name: found.get(name) for name in _FIELDS} | {"answers": list(answers), "format": FORMAT}
    )
    check_answer(receipt)
    return receipt.encode()


def parse_receipt(data: bytes) -> Receipt:
    """Read a receipt file; encoding the result gives the same bytes. Raises `ReceiptInvalid`."""
    if len(data) > MAX_BYTES or not data.endswith(b"\n"):
        raise ReceiptInvalid("not a receipt file, or cut")
    try:
        value = decode(data[:-1])
    except NotCanonical as error:
        raise ReceiptInvalid(str(error)) from None
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise ReceiptInvalid("not the fields of a receipt")
    receipt = _receipt(value)
    if receipt.encode() != data:
        raise ReceiptInvalid("not the one form of this receipt")
    return receipt


def check_answer(receipt: Receipt) -> Entry:
    """The entry, if it is of a request and holds the hash of the receipt's answer.

    Raises `ReceiptInvalid`.
    """
    try:
        entry = decode_entry(receipt.entry)
        found = answer_hash(receipt.answers).hex()
    except EntryInvalid as error:
        raise ReceiptInvalid(str(error)) from None
    if entry["kind"] != SETTLED or not isinstance(entry.get("request"), str):
        raise ReceiptInvalid("the entry is not of a request")
    expected = entry.get("answer_hash")
    # An owner that was lost left no hash; then there is no answer to prove either.
    if expected != found and (expected, receipt.answers) != ("", ()):
        raise ReceiptInvalid("the entry holds the hash of another answer")
    return entry


def _receipt(value: Mapping[str, Json]) -> Receipt:
    answers, entry, index = value["answers"], value["entry"], value["index"]
    proof, checkpoint = value["proof"], value["checkpoint"]
    if (
        value["format"] != FORMAT
        or not isinstance(answers, list)
        or not isinstance(entry, dict)
        or type(index) is not int
        or not isinstance(proof, list)
        or not isinstance(checkpoint, str)
    ):
        raise ReceiptInvalid(f"not a receipt of format {FORMAT}")
    try:
        return Receipt(_texts(answers), encode(entry), index, tuple(map(_hash, proof)), checkpoint)
    except NotCanonical as error:
        raise ReceiptInvalid(str(error)) from None


def _texts(items: list[Json]) -> tuple[str, ...]:
    if not all(isinstance(item, str) for item in items):
        raise ReceiptInvalid("an answer is not a text")
    return tuple(str(item) for item in items)


def _hash(item: Json) -> bytes:
    try:
        octets = bytes.fromhex(item) if isinstance(item, str) else b""
    except ValueError:
        octets = b""
    if len(octets) != HASH_SIZE:
        raise ReceiptInvalid("the proof holds something else than hashes")
    return octets
