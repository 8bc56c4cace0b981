"""An entry of the log: canonical JSON of one fact: digests, identifiers, counts and money, no text. Pure.

The bytes are what is hashed into the tree, so they are made once, when the fact is appended (`facts.py`,
which says what fields there are), and never again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from services.audit.tlog.canonical import Json, NotCanonical, decode

FORMAT = 1
"""The field `format` of every entry; another value means other fields."""
SETTLED = "RequestSettled"
CHANGED = "ConfigurationChanged"

Entry = dict[str, Json]


class EntryInvalid(ValueError):
    """Not an entry of this log, or an answer that can have none."""


def decode_entry(data: bytes) -> Entry:
    """The entry in these bytes. Raises `EntryInvalid`."""
    try:
        entry = decode(data)
    except NotCanonical as error:
        raise EntryInvalid(str(error)) from None
    if not isinstance(entry, dict) or entry.get("format") != FORMAT or not isinstance(entry.get("kind"), str):
        raise EntryInvalid(f"not an entry of format {FORMAT}")
    return entry


def answer_hash(answers: Sequence[str]) -> bytes:
    """SHA-256 of an answer: its choices in order, each in UTF-8 and ended by one zero byte.

    Raises `EntryInvalid` for a text that holds a zero itself, which would be another answer's hash too.
    """
    digest = hashlib.sha256()
    for text in answers:
        if "\0" in text:
            raise EntryInvalid("an answer holds a zero character")
        try:
            digest.update(text.encode() + b"\0")
        except UnicodeEncodeError:
            raise EntryInvalid("an answer is not valid Unicode") from None
    return digest.digest()
