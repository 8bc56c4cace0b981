"""HTTP/1.1 as the edge takes it: uvicorn's httptools protocol, made strict.

Neither of uvicorn's parsers refuses doubled headers, foreign targets, header floods or slow senders
(attack 11 of tests/attacks.md). This class does, as they arrive, before any application code runs. Time
limits are enforced by one sweep over all connections, not by timers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.edge.http.crowding import Held, make_room
from services.edge.settings import EdgeSettings
from shared.clock import Clock
from shared.errors import FreeholdError, Kind

LINGER_S = 2.0
"""After a refusal the client may go on sending for so long; closing at once would reset the connection
and the client could lose the answer."""

SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"x-api-key",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"content-encoding",
        b"idempotency-key",
        b"traceparent",
    }
)
"""Headers that decide something: two of them would leave open which one counts."""

# Origin form (RFC 9112, 3.2.1) of visible ASCII; `//` would be read as an authority by some.
_TARGET = re.compile(rb"/(?!/)[!-\"$-\[\]-~]*")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_HOP = frozenset({b"connection", b"upgrade", b"http2-settings"})


class Reading(IntEnum):
    """What a connection is in the middle of receiving."""

    NOTHING = 0
    HEAD = 1
    BODY = 2
    REFUSED = 3
    """Nothing more is parsed; what still comes is thrown away."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all connections of a server have in common."""

    settings: EdgeSettings
    clock: Clock
    refusal: Callable[[FreeholdError], bytes]
    """Makes the whole answer of a refusal, and counts it."""


class StrictProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, rules: Rules, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._rules = rules
        self._settings = rules.settings
        self._reading = Reading.NOTHING
        self._since = rules.clock.monotonic()
        self._stalled_since = 0.0
        self._turn = 0
        """Counts changes of `_reading`, so that a chunk is known to lie within one part of a message."""
        self._raw = 0
        """Bytes of whole chunks within the part that is being received."""
        self._head_bytes = 0
        self._body_bytes = 0
        self._error: FreeholdError | None = None
        self._answering: RequestResponseCycle | None = None

    def _turn_to(self, reading: Reading) -> None:
        self._reading = reading
        self._since = self._rules.clock.monotonic()
        self._turn += 1
        self._raw = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects."""
        super().connection_made(transport)
        most, now = self._settings.max_connections, self._since
        if len(self.connections) > most and not make_room(cast(set[Held], self.connections), most, now):
            self._refuse(FreeholdError(Kind.OVERLOADED, "too many connections", retry_after=1))

    @property
    def closing(self) -> bool:
        """See `crowding.Held`; so the next three."""
        return self.transport.is_closing()

    @property
    def needed(self) -> bool:
        return self._reading > Reading.HEAD or self._busy()

    @property
    def since(self) -> float:
        return self._since

    def hang_up(self) -> None:
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse, or refuse. No parser error leaves a connection open."""
        if self._reading == Reading.REFUSED:
            return
        turn, before = self._turn, self._reading
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                self._feed_without_upgrade(data[stop.args[0] :])
            # A chunk with the end of one part and the begin of another is counted for neither.
            if self._turn == turn or (before == Reading.NOTHING and self._turn == turn + 1):
                self._count(len(data))
        except (httptools.HttpParserError, FreeholdError):
            # httptools wraps what a callback raises; `_refuse_now` has kept the original.
            self._refuse(self._error or FreeholdError(Kind.BAD_REQUEST, "this is not HTTP/1.1"))

    def _count(self, size: int) -> None:
        self._raw += size
        if self._reading == Reading.HEAD and self._raw > self._settings.max_header_bytes:
            self._refuse_now(Kind.HEADERS_TOO_LARGE, "the headers are too large")
        # A body of tiny chunks, or of chunk extensions, costs many times its size.
        if self._reading == Reading.BODY and self._raw > 2 * self._settings.max_body_bytes + (1 << 16):
            self._refuse_now(Kind.TOO_LARGE, "the body is too large")

    def _refuse_now(self, kind: Kind, message: str) -> None:
        self._error = FreeholdError(kind, message)
        raise self._error

    def on_message_begin(self) -> None:
        """Parser: a request's first byte."""
        super().on_message_begin()
        self._head_bytes = self._body_bytes = 0
        self._turn_to(Reading.HEAD)

    def on_url(self, url: bytes) -> None:
        """Parser: a part of the target."""
        super().on_url(url)
        self._head_bytes += len(url)
        if self._head_bytes > self._settings.max_header_bytes:
            self._refuse_now(Kind.HEADERS_TOO_LARGE, "the target is too large")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header. After the headers' end it would be a trailer."""
        if self._reading != Reading.HEAD:
            self._refuse_now(Kind.BAD_REQUEST, "trailers are not accepted")
        self._head_bytes += len(name) + len(value) + 4
        if (
            self._head_bytes > self._settings.max_header_bytes
            or len(self.headers) >= self._settings.max_headers
        ):
            self._refuse_now(Kind.HEADERS_TOO_LARGE, "the headers are too many or too large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Parser: the head is whole; this is where a request is let in."""
        if _TARGET.fullmatch(self.url) is None:
            self._refuse_now(Kind.BAD_REQUEST, "the target must be a path")
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            self._refuse_now(Kind.BAD_REQUEST, "this is not HTTP/1.1")
        found = dict(self.headers)
        if len(found) != len(self.headers):
            names = [name for name, _ in self.headers]
            if any(names.count(name) > 1 for name in SINGLE):
                self._refuse_now(Kind.BAD_REQUEST, "a header that must be single is doubled")
        self._check_host(found.get(b"host", b""))
        self._check_length(found)
        if len(self.pipeline) >= self._settings.max_pipelined and self._busy():
            self._refuse_now(Kind.BAD_REQUEST, "too many requests are pipelined")
        if self.parser.should_upgrade():
            return  # the parser stops here; `_feed_without_upgrade` goes on
        self._turn_to(Reading.BODY)
        super().on_headers_complete()

    def _check_host(self, value: bytes) -> None:
        host = _HOST.fullmatch(value)
        if host is None:
            self._refuse_now(Kind.BAD_REQUEST, "one valid Host header is needed")
        elif self._settings.hosts and host[1].decode().lower() not in self._settings.hosts:
            self._refuse_now(Kind.BAD_REQUEST, "this host is not served here")

    def _check_length(self, found: dict[bytes, bytes]) -> None:
        length, coding = found.get(b"content-length"), found.get(b"transfer-encoding")
        if coding is not None and (
            length is not None or coding.lower() != b"chunked" or self.parser.get_http_version() == "1.0"
        ):
            self._refuse_now(Kind.BAD_REQUEST, "the body's length is said in more than one way")
        # The parser has refused what is no number; more digits than this are too large anyway.
        if length is not None and (len(length) > 18 or int(length) > self._settings.max_body_bytes):
            self._refuse_now(Kind.TOO_LARGE, f"the body is above {self._settings.max_body_bytes} bytes")

    def _feed_without_upgrade(self, rest: bytes) -> None:
        # A client may offer h2c or WebSocket; a server may ignore the offer (RFC 9110, 7.8). The parser
        # takes everything behind such a head for the other protocol, so it gets the head again without.
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] not in _HOP]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"\r\n".join([*lines, b"", rest]))

    def on_body(self, body: bytes) -> None:
        """Parser: a part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.max_body_bytes:
            self._refuse_now(Kind.TOO_LARGE, f"the body is above {self._settings.max_body_bytes} bytes")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Parser: the request is whole, or its head was an offer to upgrade."""
        if self._reading == Reading.BODY:
            super().on_message_complete()
            self._turn_to(Reading.NOTHING)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer is written; start the next one, or wait for the sweep."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._reading == Reading.NOTHING:
            self._since = self._rules.clock.monotonic()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._stalled_since = self._rules.clock.monotonic()
        super().pause_writing()

    def _busy(self) -> bool:
        cycle = self._answering
        return cycle is not None and not cycle.response_complete and not cycle.disconnected

    def sweep(self, now: float) -> None:
        """Enforce the time limits; called for every connection, by one task."""
        if self.transport.is_closing():
            return
        waited, limits = now - self._since, self._settings
        if self.flow.write_paused and now - self._stalled_since > limits.stalled_s:
            self.transport.abort()
        elif self._reading == Reading.HEAD and waited > limits.headers_s:
            self._refuse(FreeholdError(Kind.SLOW_BODY, "the headers took too long"))
        elif self._reading == Reading.BODY and waited > limits.body_s:
            self._refuse(FreeholdError(Kind.SLOW_BODY, "the body took too long"))
        elif self._busy():
            return
        elif (self._reading == Reading.REFUSED and waited > LINGER_S) or (
            self._reading == Reading.NOTHING and waited > limits.idle_s
        ):
            self.transport.close()

    def _refuse(self, error: FreeholdError) -> None:
        cycle = self._answering
        unread = self._reading == Reading.BODY and cycle is self.cycle
        self._turn_to(Reading.REFUSED)
        if self._busy() and cycle is not None and (not unread or cycle.response_started):
            # An answer is on its way: it is finished, nothing behind it is served.
            self.pipeline.clear()
            cycle.keep_alive = False
            return
        if unread and cycle is not None:
            said = cycle.response_complete
            cycle.disconnected = True
            cycle.message_event.set()
            if said:
                self._hang_up(b"")
                return
        self._hang_up(self._rules.refusal(error))

    def _hang_up(self, last: bytes) -> None:
        if self.transport.is_closing():
            return
        if last:
            self.transport.write(last)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
