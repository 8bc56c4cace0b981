"""Usage: one record per accepted attempt, durable before its end is told."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from services.inference.attempts.attempt import Attempt
from services.inference.scheduler import Finish
from services.inference.streams.frames import REASONS
from shared.bus.envelope import Envelope
from shared.bus.ports import Acknowledged, BusError, Headers, Position, Publisher
from shared.contracts.freehold.inference.v1 import events_pb2 as pb
from shared.host import Host
from shared.ids import event_id

log = logging.getLogger(__name__)

RETRY_S = 0.5
SERVICE = "inference"


class _Written(NamedTuple):
    attempt: Attempt | None
    key: bytes
    value: bytes
    headers: Headers
    sent: Awaitable[Position] | None


class Usage:
    """Publishes usage at once and tells, in the same order, when each is durable.

    A record that is not acknowledged is published again, for ever: billing knows it by its event id.
    """

    def __init__(self, bus: Publisher, host: Host, model: str, weights_digest: str) -> None:
        self._bus = bus
        self._clock = host.clock
        self._incarnation = host.incarnation
        self._model = model
        self._weights_digest = weights_digest
        self._written: deque[_Written] = deque()
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Records that are not known to be durable."""
        return len(self._written)

    def ended(self, attempt: Attempt) -> None:
        """The engine has ended every choice of an accepted attempt."""
        usage = self._blank(attempt.envelope.attempt)
        usage.prompt = len(attempt.work.prompt)
        usage.cached = attempt.cached
        usage.reason = REASONS[attempt.finish or Finish.FAILED]
        usage.diagnostic = attempt.diagnostic
        for stream in attempt.streams:
            usage.choices.add(choice=stream.choice, generated=stream.generated)
        self._write(attempt, attempt.envelope, attempt.traceparent, usage)

    def never_accepted(self, cancel: Envelope) -> None:
        """A cancel came for work that was not taken: its usage is nothing."""
        usage = self._blank(cancel.attempt)
        usage.reason = REASONS[Finish.CANCELLED]
        self._write(None, cancel, cancel.traceparent, usage)

    def _blank(self, attempt: int) -> pb.UsageRecorded:
        return pb.UsageRecorded(attempt=attempt, model=self._model, weights_digest=self._weights_digest)

    def _write(
        self, attempt: Attempt | None, about: Envelope, traceparent: bytes, usage: pb.UsageRecorded
    ) -> None:
        headers = Envelope(
            type="UsageRecorded",
            event_id=event_id(about.request, about.attempt, 0, SERVICE, "UsageRecorded"),
            sender=self._incarnation,
            request=about.request,
            tenant=about.tenant,
            owner=about.owner,
            lane=about.lane,
            attempt=about.attempt,
            config_offset=about.config_offset,
            traceparent=traceparent,
        ).headers()
        key, value = about.tenant.encode(), usage.SerializeToString()
        self._written.append(_Written(attempt, key, value, headers, self._publish(key, value, headers)))
        self._wake.set()

    def _publish(self, key: bytes, value: bytes, headers: Headers) -> Awaitable[Position] | None:
        try:
            return self._bus.publish("usage", value, headers, key=key)
        except BusError as error:
            log.warning("usage not sent: %s", error)
            return None

    async def run(self, on_durable: Callable[[list[Attempt]], None]) -> None:
        """Wait for acknowledgements, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._written:
                _, key, value, headers, sent = self._written[0]
                while not await self._acknowledged(sent):
                    await self._clock.sleep(RETRY_S)
                    sent = self._publish(key, value, headers)
                # One commit acknowledges many: their ends go out together.
                durable = [self._written.popleft().attempt]
                while self._written and _is_acknowledged(self._written[0].sent):
                    durable.append(self._written.popleft().attempt)
                on_durable([attempt for attempt in durable if attempt is not None])

    async def _acknowledged(self, sent: Awaitable[Position] | None) -> bool:
        if sent is None:
            return False
        try:
            await sent
        except BusError as error:
            log.warning("usage not acknowledged: %s", error)
            return False
        return True


def _is_acknowledged(sent: Awaitable[Position] | None) -> bool:
    """Whether waiting for it would return at once, without an error."""
    if isinstance(sent, asyncio.Future):
        return sent.done() and not sent.cancelled() and sent.exception() is None
    return isinstance(sent, Acknowledged)
