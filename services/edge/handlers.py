"""Records of the owner's lanes in, events of its requests out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from services.edge.owner.dispatching import Dispatcher
from services.edge.owner.entry import Entry, InFlight
from services.edge.owner.observing import Observer
from services.edge.owner.unheld import Unheld
from services.edge.states.attempts import Listed
from services.edge.states.chain import Delta, Ending
from services.edge.states.effects import Effects
from services.edge.states.running import BROKEN_OFF
from shared.bus.envelope import Envelope, UnknownType, parse_envelope
from shared.bus.ports import Record
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved
from shared.contracts.freehold.inference.v1.events_pb2 import (
    FAIL_REASON_DRAINING,
    Running,
    WorkAccepted,
    WorkFailed,
    WorkRejected,
)
from shared.contracts.freehold.moderation.v1.events_pb2 import Screened, VettedFrame
from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestFailed, RequestRefused
from shared.contracts.freehold.tokenizer.v1.events_pb2 import Encoded
from shared.ids import unpack

log = logging.getLogger(__name__)

Apply = Callable[[Entry, Effects, float], None]
CancelUnheld = Callable[[Envelope, str, int, int], None]
"""Called with a report's envelope, and request, attempt and seat that it lists and nobody here holds."""


class ForeignRecord(Exception):
    """An answer in another tenant's name: it has no effect on the request that it names."""


class Handlers:
    """One per owner. A record at fault is counted, set aside by `dead_letter`, and fails its request
    where its headers name one of the same tenant.
    """

    def __init__(
        self,
        incarnation: int,
        in_flight: InFlight,
        unheld: Unheld,
        dispatcher: Dispatcher,
        observer: Observer,
        apply: Apply,
        cancel_unheld: CancelUnheld,
        dead_letter: Callable[[Record, Exception], None],
    ) -> None:
        self._owner = b"%d" % incarnation
        self._in_flight = in_flight
        self._dispatcher = dispatcher
        self._observer = observer
        self._apply = apply
        self._cancel_unheld = cancel_unheld
        self._unheld = unheld
        self._dead_letter = dead_letter

    def reply(self, record: Record, now: float) -> None:
        """One record of `replies`."""
        headers = dict(record.headers)
        if not self._mine(headers):
            return
        entry = self._in_flight.by_request.get(headers.get("request", b"").decode("ascii", "replace"))
        if entry is not None and headers.get("tenant") != entry.tenant:
            self._set_aside(record, ForeignRecord("its tenant is not its request's"))
            return
        try:
            self._reply(record, headers, entry, now)
        except Exception as error:  # noqa: BLE001 - one record must not stop the reader
            self._set_aside(record, error)
            if entry is not None:
                stage = _STAGES.get(headers.get("type", b""), "reply")
                self._apply(entry, entry.machine.step_failed(stage, _attempt(headers)), now)

    def completion(self, record: Record, now: float) -> None:
        """One record of `completions`."""
        headers = dict(record.headers)
        if not self._mine(headers):
            return
        try:
            if headers.get("type") != _VETTED:
                raise UnknownType(headers.get("type"))
            self._vetted(VettedFrame.FromString(record.value), now)
        except Exception as error:  # noqa: BLE001 - as above
            self._set_aside(record, error)

    def _mine(self, headers: dict[str, bytes]) -> bool:
        return headers.get("owner") == self._owner == headers.get("to", self._owner)

    def _set_aside(self, record: Record, error: Exception) -> None:
        log.error("%s/%d/%d cannot be handled: %r", record.topic, record.partition, record.offset, error)
        self._observer.undecodable.inc()
        self._dead_letter(record, error)

    def _reply(self, record: Record, headers: dict[str, bytes], entry: Entry | None, now: float) -> None:
        kind = headers.get("type", b"")
        if kind == _RUNNING:
            self._running(parse_envelope(record.headers), Running.FromString(record.value), now)
            return
        if kind not in _EVENTS:
            raise UnknownType(kind)
        message, event = _EVENTS[kind]
        number = _attempt(headers)
        if entry is None or (number and not _is_by_its_worker(entry, number, headers)):
            self._observer.late.inc()
            return
        worker = entry.worker
        effects = event(entry, number, message.FromString(record.value), now)
        if message is WorkRejected and effects:
            self._dispatcher.rejected(worker)
        self._apply(entry, effects, now)

    def _running(self, envelope: Envelope, report: Running, now: float) -> None:
        listed: dict[tuple[bytes, int], Listed] = {}
        for one in report.attempts:
            choices = listed.setdefault((one.request, one.attempt), {})
            choices[one.choice] = (one.produced, one.ended)
        for entry in self._in_flight.all():
            if entry.worker == envelope.sender and (attempt := entry.machine.current) is not None:
                found = listed.pop((entry.octets, attempt.number), None)
                effects = entry.machine.reported(now, envelope.sender, report.work_offset, found)
                self._apply(entry, effects, now)
        unheld = [key for key, choices in listed.items() if not all(ended for _, ended in choices.values())]
        for octets, number in self._unheld.reported(envelope.sender, unheld):
            self._cancel_unheld(envelope, unpack(octets), number, report.seat)

    def _vetted(self, vetted: VettedFrame, now: float) -> None:
        frame = vetted.frame
        entries = list(map(self._in_flight.by_octets.get, frame.request))
        attempts, choices = list(frame.attempt), list(frame.choice)
        apply = self._apply
        ids, lengths = list(frame.ids), list(frame.lengths)
        if not sum(frame.text_count) == len(ids) == len(lengths):
            raise ValueError("the columns of a frame do not fit each other")
        # Moderation took their text for the whole; elsewhere it goes on, and may match with what comes then.
        broken_off = {end.stream for end in frame.ends if end.reason in BROKEN_OFF}
        first = 0
        for stream, start, count, text in zip(
            frame.text_stream, frame.text_index, frame.text_count, frame.text, strict=True
        ):
            after = first + count
            if (entry := entries[stream]) is not None and stream not in broken_off:
                delta = Delta(start, ids[first:after], lengths[first:after], text)
                effects = entry.machine.delta(
                    now, attempts[stream], choices[stream], delta, entry.answer.room
                )
                if effects:
                    apply(entry, effects, now)
            first = after
        for verdict in vetted.verdicts:
            if entry := entries[verdict.stream]:
                apply(entry, entry.machine.judged(now, attempts[verdict.stream], verdict), now)
        for end in frame.ends:
            if entry := entries[end.stream]:
                ending = Ending(end.reason, end.generated, end.prompt, end.cached)
                number = choices[end.stream]
                apply(entry, entry.machine.ended(now, attempts[end.stream], number, ending), now)
        for refused in vetted.refused:
            if entry := entries[refused.stream]:
                apply(entry, entry.machine.stream_refused(now, attempts[refused.stream], refused), now)
        for broken in vetted.broken:
            if entry := entries[broken.stream]:
                apply(entry, entry.machine.stream_broken(now, attempts[broken.stream]), now)


def _is_by_its_worker(entry: Entry, number: int, headers: dict[str, bytes]) -> bool:
    """Whether an answer about an attempt comes from the incarnation that its work was sent to."""
    attempt = entry.machine.current
    return attempt is not None and attempt.number == number and headers["from"] == b"%d" % attempt.worker


def _attempt(headers: dict[str, bytes]) -> int:
    value = headers.get("attempt", b"0")
    return int(value) if value.isdigit() else 0


Event = Callable[[Entry, int, Any, float], Effects]

_EVENTS: dict[bytes, tuple[type[Message], Event]] = {
    message.DESCRIPTOR.name.encode(): (message, event)
    for message, event in (
        (Screened, lambda entry, _, answer, now: entry.machine.screened(now, answer)),
        (Encoded, lambda entry, _, answer, now: entry.machine.encoded(now, answer)),
        (BudgetReserved, lambda entry, _, answer, now: entry.machine.reserved(now, answer)),
        (RequestRefused, lambda entry, _, answer, now: entry.machine.refused(now, answer)),
        (RequestFailed, lambda entry, k, answer, _: entry.machine.step_failed(answer.stage, k)),
        (
            WorkAccepted,
            lambda entry, k, answer, now: entry.machine.work_accepted(now, k, answer.weights_digest),
        ),
        (
            WorkRejected,
            lambda entry, k, answer, now: entry.machine.work_rejected(now, k, answer.reason),
        ),
        (
            WorkFailed,
            lambda entry, k, answer, now: entry.machine.work_failed(
                now, k, draining=answer.reason == FAIL_REASON_DRAINING
            ),
        ),
    )
}
_RUNNING, _VETTED = Running.DESCRIPTOR.name.encode(), VettedFrame.DESCRIPTOR.name.encode()
_STAGES = {
    b"Screened": "moderation",
    b"Encoded": "tokenizer",
    b"BudgetReserved": "billing",
    b"WorkAccepted": "inference",
    b"WorkRejected": "inference",
    b"WorkFailed": "inference",
}
