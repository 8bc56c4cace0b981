"""The headers of a record: routing never needs the payload.

A request record carries all fields; a bundle (frames, completions, running reports, pulses) leaves
the request's own ones empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.bus.ports import Headers


class EnvelopeError(ValueError):
    """Headers that cannot be routed: a field is missing or not of its form."""


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
        found: list[tuple[str, bytes]] = [
            ("type", self.type.encode()),
            ("event_id", self.event_id.encode()),
            ("from", b"%d" % self.sender),
        ]
        if self.request:
            found.append(("request", self.request.encode()))
        if self.tenant:
            found.append(("tenant", self.tenant.encode()))
        if self.traceparent:
            found.append(("traceparent", self.traceparent))
        found.extend((name, b"%d" % value) for name in _NUMBERS if (value := getattr(self, name)))
        return tuple(found)


_NUMBERS = ("owner", "lane", "to", "attempt", "revision", "ttl_ms", "config_offset")
_TEXTS = frozenset(("type", "event_id", "request", "tenant"))
_INTEGERS = frozenset(_NUMBERS)
_MAX = (1 << 64) - 1


def parse_envelope(headers: Headers) -> Envelope:
    """The envelope of a record. Unknown headers are ignored. Raises `EnvelopeError`."""
    fields: dict[str, str | int | bytes] = {}
    try:
        for name, value in headers:
            if name in _TEXTS:
                fields[name] = value.decode("ascii")
            elif name in _INTEGERS:
                fields[name] = _integer(name, value)
            elif name == "from":
                fields["sender"] = _integer(name, value)
            elif name == "traceparent":
                fields[name] = value
        return Envelope(**fields)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise EnvelopeError(f"headers cannot be routed: {error}") from None


def _integer(name: str, value: bytes) -> int:
    if not value.isdigit() or (number := int(value)) > _MAX:
        raise ValueError(f"{name} is not a 64-bit integer")
    return number
