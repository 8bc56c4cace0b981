"""C2SP signed notes with Ed25519: text, blank line, signature lines; and the keys' textual forms. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\N{EM DASH} "
MAX_SIGNATURES = 16


class NoteInvalid(ValueError):
    """The note or key does not have its form, or no known key signed it."""


class Signature(NamedTuple):
    """One signature line."""

    name: str
    key_id: bytes
    """Four bytes."""
    value: bytes

    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.value)}\n"


@dataclass(frozen=True)
class Note:
    """A text that ends in a newline, and who signed it."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        """The note as it is stored and sent."""
        return f"{self.text}\n{''.join(signature.line() for signature in self.signatures)}"


@dataclass(frozen=True)
class Verifier:
    """A public key with a name; its text is `<name>+<hex key id>+<base64 key>`."""

    name: str
    key: bytes
    """32 bytes (RFC 8032)."""

    @property
    def key_id(self) -> bytes:
        """Four bytes of a hash over name and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.key)}"

    def check(self, note: Note) -> None:
        """Return if this key signed the note; signatures of other keys are ignored, as the
        specification asks. Raises `NoteInvalid`.
        """
        mine = [found for found in note.signatures if (found.name, found.key_id) == (self.name, self.key_id)]
        if not mine:
            raise NoteInvalid(f"the note has no signature of {self.name}")
        public = Ed25519PublicKey.from_public_bytes(self.key)
        for signature in mine:
            try:
                public.verify(signature.value, note.text.encode())
            except InvalidSignature:
                raise NoteInvalid(f"the signature of {self.name} is wrong") from None


@dataclass(frozen=True)
class Signer:
    """A private key with a name; its text is `PRIVATE+KEY+<name>+<hex key id>+<base64 seed>`."""

    name: str
    seed: bytes
    """32 random bytes (RFC 8032)."""

    def __post_init__(self) -> None:
        _check_name(self.name)

    def __repr__(self) -> str:
        return f"Signer(name={self.name!r})"

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return Verifier(self.name, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def secret_text(self) -> str:
        """The key's textual form, to be kept secret."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{_base64(_ED25519 + self.seed)}"

    def sign(self, text: str) -> Note:
        """The text, which must end in a newline, with this key's signature."""
        value = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return Note(text, (Signature(self.name, self.verifier.key_id, value),))


def parse_note(encoded: str) -> Note:
    """Read a note; encoding the result gives the same string. Raises `NoteInvalid`."""
    _check_unicode(encoded)
    text, blank, lines = encoded.rpartition("\n\n")
    text += "\n"
    if not blank or not lines.endswith("\n") or any(char < " " and char != "\n" for char in encoded):
        raise NoteInvalid("not a signed note")
    signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MAX_SIGNATURES:
        raise NoteInvalid(f"more than {MAX_SIGNATURES} signatures")
    return Note(text, signatures)


def parse_verifier(text: str) -> Verifier:
    """Read a public key. Raises `NoteInvalid`."""
    name, key = _parse_key(text)
    verifier = Verifier(name, key)
    if str(verifier) != text:
        raise NoteInvalid("the key id does not belong to the public key")
    return verifier


def parse_signer(text: str) -> Signer:
    """Read a private key. Raises `NoteInvalid`, which never quotes the key."""
    if not text.startswith(_PRIVATE):
        raise NoteInvalid("not a private key")
    signer = Signer(*_parse_key(text.removeprefix(_PRIVATE)))
    if signer.secret_text() != text:
        raise NoteInvalid("the key id does not belong to the private key")
    return signer


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_DASH) or line.count(" ") != 2:
        raise NoteInvalid("not a signature line")
    name, encoded = line.removeprefix(_DASH).split(" ")
    _check_name(name)
    octets = _unbase64(encoded)
    if len(octets) < 5:
        raise NoteInvalid("the signature is too short")
    return Signature(name, octets[:4], octets[4:])


def _parse_key(text: str) -> tuple[str, bytes]:
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    _check_name(name)
    octets = _unbase64(encoded)
    if len(key_id) != 8 or len(octets) != 33 or octets[:1] != _ED25519:
        raise NoteInvalid("not an Ed25519 key")
    return name, octets[1:]


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NoteInvalid("not valid Unicode") from None


def _check_name(name: str) -> None:
    _check_unicode(name)
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise NoteInvalid("a key's name must be without spaces and plus signs")


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _unbase64(text: str) -> bytes:
    """Strictly: unused bits must be zero, so that each value has one encoding."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid("not base64") from None
    if _base64(octets) != text:
        raise NoteInvalid("not base64 in its one form")
    return octets
