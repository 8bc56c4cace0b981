"""Identifiers: requests are UUIDv7 (RFC 9562) in their 36-character form; events derive from requests."""

from __future__ import annotations

import hashlib
import random

from shared.clock import Clock


class Ids:
    """Makes identifiers from the given clock and chance; within a process they sort by time."""

    __slots__ = ("_clock", "_last", "_random")

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self._clock = clock
        self._random = chance
        self._last = 0

    def request(self) -> str:
        """A new UUIDv7: 48 bits of Unix milliseconds, 12 bits of sub-millisecond order, 62 random bits."""
        now = self._clock.time_ns()
        stamp = (now // 1_000_000) << 12 | (now % 1_000_000) * 4096 // 1_000_000
        self._last = stamp = max(stamp, self._last + 1)
        value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62
        return unpack(((value | self._random.getrandbits(62)) & (1 << 128) - 1).to_bytes(16, "big"))

    def secret(self, octets: int = 32) -> bytes:
        """Random bytes for keys and tokens."""
        return self._random.randbytes(octets)


def pack(identifier: str) -> bytes:
    """The 16 bytes of a 36-character UUID. Raises `ValueError` where it is none."""
    octets = bytes.fromhex(identifier.replace("-", ""))
    if len(octets) != 16:
        raise ValueError(f"not a UUID: {identifier!r}")
    return octets


def unpack(octets: bytes) -> str:
    """The 36-character form of 16 bytes."""
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def event_id(request: str, attempt: int, revision: int, service: str, kind: str) -> str:
    """The identifier of a derived event: a repetition of the same event has the same one (32 hex digits)."""
    text = f"{request}/{attempt}/{revision}/{service}/{kind}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def lane_of(request: str, lanes: list[int]) -> int:
    """The lane of a request among those its owner claimed: the random tail of its id decides."""
    return lanes[int(request[-8:], 16) % len(lanes)]
