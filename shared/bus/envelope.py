"""The headers of a record: routing never needs the payload.

A request record carries all fields; a bundle (frames, completions, running reports, pulses) leaves
the request's own ones empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from shared.bus.ports import Headers, RecordInvalid


class EnvelopeError(RecordInvalid):
    """Headers that cannot be routed: a field is missing or not of its form."""


class UnknownType(EnvelopeError):
    """A record of a type that its reader has never heard of."""


@dataclass(slots=True)
class Envelope:
    """Routing fields of one record; on the wire each is a header of ASCII text, absent where empty."""

    type: str
    """The protobuf message's name, such as `RequestAccepted`."""
    event_id: str
    """A repetition of the same event has the same one."""
    sender: int
    """Incarnation that wrote the record (header `from`)."""
    request: str = ""
    """The request's UUIDv7, 36 characters."""
    tenant: str = ""
    """Organisation id."""
    owner: int = 0
    """Incarnation of the edge that owns the request."""
    lane: int = 0
    """Partition of `replies`, `frames` and `completions` that the owner reads; of `work`, the seat."""
    to: int = 0
    """Incarnation that is meant to act on it; 0 = whoever reads."""
    attempt: int = 0
    revision: int = 0
    ttl_ms: int = 0
    """Age, by broker time, after which a transit record is dropped; 0 = never."""
    config_offset: int = 0
    """Configuration version that the owner had seen when it accepted the request."""
    traceparent: bytes = b""
    """W3C trace context of the span that published the record."""

    def headers(self) -> Headers:
        """The wire form; empty fields are left out."""
        found = [
            ("type", self.type.encode()),
            ("event_id", self.event_id.encode()),
            ("from", b"%d" % self.sender),
        ]
        add = found.append
        if self.request:
            add(("request", self.request.encode()))
        if self.tenant:
            add(("tenant", self.tenant.encode()))
        if self.traceparent:
            add(("traceparent", self.traceparent))
        if self.owner:
            add(("owner", b"%d" % self.owner))
        if self.lane:
            add(("lane", b"%d" % self.lane))
        if self.to:
            add(("to", b"%d" % self.to))
        if self.attempt:
            add(("attempt", b"%d" % self.attempt))
        if self.revision:
            add(("revision", b"%d" % self.revision))
        if self.ttl_ms:
            add(("ttl_ms", b"%d" % self.ttl_ms))
        if self.config_offset:
            add(("config_offset", b"%d" % self.config_offset))
        return tuple(found)


_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_TRACE = 64
"""Bytes; what is written is 55."""


def parse_envelope(headers: Headers) -> Envelope:
    """The envelope of a record. Unknown headers are ignored; of a doubled one the last counts.

    Raises `EnvelopeError`.
    """
    found = dict(headers)
    get = found.get
    request, trace = get("request", b""), get("traceparent", b"")
    if len(trace) > _TRACE or not trace.isascii():
        trace = b""  # no record fails by its trace
    try:
        if request and _UUID(request) is None:
            raise ValueError(f"{request[:40]!r} is not a UUID in its canonical form")
        return Envelope(
            found["type"].decode("ascii"),
            found["event_id"].decode("ascii"),
            _incarnation(found["from"]),
            request.decode("ascii"),
            _tenant(get("tenant", b"")),
            _incarnation(get("owner", b"0")),
            _count(get("lane", b"0")),
            _incarnation(get("to", b"0")),
            _count(get("attempt", b"0")),
            _count(get("revision", b"0")),
            _time(get("ttl_ms", b"0")),
            _time(get("config_offset", b"0")),
            trace,
        )
    except KeyError as missing:
        raise EnvelopeError(f"headers cannot be routed: {missing} is missing") from None
    except ValueError as error:
        raise EnvelopeError(f"headers cannot be routed: {error}") from None


def _number(value: bytes, bits: int) -> int:
    if not value.isdigit() or len(value) > 20 or (number := int(value)) >> bits:
        raise ValueError(f"{value[:40]!r} is not an integer of {bits} bits")
    return number


# Tenants, incarnations, lanes and versions come again and again.
@lru_cache(maxsize=1024)
def _tenant(value: bytes) -> str:
    text = value.decode("ascii")
    if not text.isprintable():
        raise ValueError(f"{value[:40]!r} is not printable")
    return text


@lru_cache(maxsize=1024)
def _incarnation(value: bytes) -> int:
    return _number(value, 64)


@lru_cache(maxsize=1024)
def _count(value: bytes) -> int:
    return _number(value, 31)


@lru_cache(maxsize=1024)
def _time(value: bytes) -> int:
    return _number(value, 63)
