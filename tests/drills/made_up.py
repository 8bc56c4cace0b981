"""Requests that no client made: their owner and their worker are the drill itself, on the real broker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from google.protobuf.message import Message

from shared.bus.envelope import Envelope
from shared.bus.ports import Bus
from shared.contracts.freehold.edge.v1.events_pb2 import (
    ACCEPTED_YES,
    ClosedAttempt,
    ClosedChoice,
    RequestClosed,
    ReserveBudget,
)
from shared.contracts.freehold.inference.v1.events_pb2 import ChoiceUsage, UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import FINISH_REASON_LENGTH, TERMINAL_STATE_COMPLETED
from shared.ids import event_id
from tests.drills.load import Tenant
from tests.e2e.running import MODEL
from tests.e2e.strangers import LANE, OWNER

TOKENS = 7
PROMPT = 9
KEY = "key-of-the-drills"


class MadeUp:
    """Publishes what the owner and the worker of a request say, in any order and any number of times."""

    def __init__(self, bus: Bus, tenant: Tenant) -> None:
        self._bus, self._tenant = bus, tenant

    async def say(self, request: str, what: str) -> None:
        """`reserve`, `usage` or `closed`; returns when it is on the broker."""
        topic, message = _SAID[what]
        if isinstance(message, RequestClosed | ReserveBudget):
            message.project = self._tenant.project
        await self._publish(topic, request, message)

    async def _publish(self, topic: str, request: str, message: Message) -> None:
        kind = message.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(request, 1, 0, "drills", kind),
            sender=OWNER,
            request=request,
            tenant=self._tenant.organisation,
            owner=OWNER,
            lane=LANE,
            attempt=1,
            ttl_ms=60_000,
        )
        key = self._tenant.organisation.encode()
        await self._bus.publish(topic, message.SerializeToString(), envelope.headers(), key=key)

    async def all_of(self, request: str, events: Sequence[str]) -> None:
        """One after the other, each when the one before is on the broker."""
        for event in events:
            await self.say(request, event)


_CHOICES = [ClosedChoice(choice=0, from_index=0, delivered=TOKENS)]
_SAID: dict[str, tuple[str, Message]] = {
    "reserve": (
        "reserves",
        ReserveBudget(
            key=KEY,
            model=MODEL,
            prompt_bound=2 * PROMPT,
            max_output=2 * TOKENS,
            choices=1,
            body_fingerprint=hashlib.sha256(b"").digest(),
        ),
    ),
    "usage": (
        "usage",
        UsageRecorded(
            attempt=1,
            model=MODEL,
            prompt=PROMPT,
            choices=[ChoiceUsage(choice=0, generated=TOKENS)],
            reason=FINISH_REASON_LENGTH,
        ),
    ),
    "closed": (
        "closed",
        RequestClosed(
            key=KEY,
            model=MODEL,
            state=TERMINAL_STATE_COMPLETED,
            attempts=[ClosedAttempt(attempt=1, accepted=ACCEPTED_YES, choices=_CHOICES)],
        ),
    ),
}
