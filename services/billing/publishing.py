"""How settlements become facts on the bus: after their commit, and acknowledged before anything moves on."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Final

from services.billing.books.rows import FactRow
from shared.bus.envelope import Envelope
from shared.bus.ports import Headers, Position, Publisher
from shared.ids import event_id
from shared.storage.outbox import Outgoing

SERVICE: Final = "billing"
FACTS: Final = "facts"
SETTLED: Final = "RequestSettled"


class Facts:
    """Publishes `RequestSettled`; a repetition is the same event."""

    def __init__(self, bus: Publisher, incarnation: int) -> None:
        self._bus = bus
        self._incarnation = incarnation

    def publish(self, fact: FactRow, traceparent: bytes) -> Awaitable[Position]:
        """Take one fact now; the awaitable ends when it is durable. May raise `BusError` here or there."""
        return self._bus.publish(FACTS, fact.value, self._headers(fact, traceparent))

    def outgoing(self, fact: FactRow) -> Outgoing:
        """The record for the outbox, where no redelivery would publish it again."""
        return Outgoing(FACTS, None, fact.value, self._headers(fact, fact.traceparent))

    async def republish(self, facts: Iterable[FactRow]) -> int:
        """Publish facts again and return their number once all are durable. Raises `BusError`."""
        sent = [self.publish(fact, fact.traceparent) for fact in facts]
        for acknowledged in sent:
            await acknowledged
        return len(sent)

    def _headers(self, fact: FactRow, traceparent: bytes) -> Headers:
        return Envelope(
            type=SETTLED,
            event_id=event_id(fact.request, 0, 0, SERVICE, SETTLED),
            sender=self._incarnation,
            request=fact.request,
            tenant=fact.organisation,
            traceparent=traceparent,
        ).headers()
