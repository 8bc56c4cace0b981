"""The owner's records: what each event of a request looks like on the bus."""

from __future__ import annotations

from google.protobuf.message import Message

from services.edge.owner.entry import Entry
from services.edge.owner.insisting import Letter
from services.edge.owner.redaction import redact
from services.edge.states.closing import close
from services.edge.states.machine import Machine
from shared.bus.envelope import Envelope
from shared.bus.ports import Headers
from shared.contracts.freehold.edge.v1.events_pb2 import (
    CancelGeneration,
    GenerateTokens,
    Prefix,
    PromptRedacted,
    RequestAccepted,
    RequestClosed,
    ReserveBudget,
)
from shared.host import Host
from shared.ids import event_id
from shared.telemetry.trace import format_traceparent

SERVICE = "edge"


class Records:
    """Makes the letters of one owner."""

    def __init__(self, host: Host) -> None:
        self._incarnation = host.incarnation
        self._clock = host.clock

    def accepted(self, entry: Entry) -> Letter:
        """`RequestAccepted`, for moderation and tokenizer."""
        return self._request_record(entry, self._acceptance(entry), 0)

    def redacted(self, entry: Entry, revision: int) -> Letter:
        """`PromptRedacted`, with moderation's spans replaced. Raises `SpanError`."""
        screened = entry.machine.preparation.screened
        accepted = self._acceptance(entry)
        if screened is not None:
            accepted.request.CopyFrom(redact(entry.submission.request, screened.spans))
        return self._request_record(entry, PromptRedacted(revision=revision, accepted=accepted), revision)

    def reserve(self, entry: Entry) -> Letter:
        """`ReserveBudget`."""
        terms, submission = entry.machine.terms, entry.submission
        reserve = ReserveBudget(
            project=submission.principal.project,
            key=submission.principal.key,
            model=entry.model.name,
            prompt_bound=terms.prompt_bound,
            max_output=terms.max_output,
            choices=terms.choices,
            idempotency_key=submission.idempotency_key,
            body_fingerprint=submission.fingerprint,
        )
        headers = self._headers(entry, ReserveBudget, ttl=True)
        return Letter("reserves", reserve.SerializeToString(), headers, key=_tenant(entry))

    def work(self, entry: Entry) -> Letter:
        """`GenerateTokens` of the current attempt, for its worker's seat."""
        machine, request = entry.machine, entry.submission.request
        attempt, encoded, screened = (
            machine.attempts[-1],
            machine.preparation.encoded,
            machine.preparation.screened,
        )
        work = GenerateTokens(
            model=entry.model.name,
            weights_digest=machine.terms.weights_digest,
            tokenizer_digest=encoded.tokenizer_digest if encoded else "",
            prompt_ids=encoded.ids if encoded else (),
            choices=_prefixes(machine),
            sampling=request.sampling,
            seed=entry.seed,
            stop=request.stop,
            format=request.format,
            max_output=machine.max_output,
            policies=entry.policies,
            window=screened.window if screened else 0,
            tenant_salt=entry.salt,
            top_logprobs=request.top_logprobs,
            logprobs=request.logprobs,
        )
        headers = self._headers(entry, GenerateTokens, ttl=True, attempt=attempt.number, to=attempt.worker)
        return Letter("work", work.SerializeToString(), headers, partition=attempt.seat)

    def cancel(self, entry: Entry, number: int) -> Letter:
        """`CancelGeneration`, behind its work in the same partition; without a time to live."""
        attempt = entry.machine.attempts[number - 1]
        headers = self._headers(entry, CancelGeneration, attempt=number, to=attempt.worker)
        return Letter("work", b"", headers, partition=attempt.seat)

    def cancel_unheld(self, request: str, attempt: int, lane: int, worker: int, seat: int) -> Letter:
        """`CancelGeneration` of an attempt that a worker runs and this owner does not hold."""
        kind = CancelGeneration.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(request, attempt, 0, SERVICE, kind),
            sender=self._incarnation,
            request=request,
            owner=self._incarnation,
            lane=lane,
            to=worker,
            attempt=attempt,
        )
        return Letter("work", b"", envelope.headers(), partition=seat)

    def closed(self, entry: Entry) -> Letter:
        """`RequestClosed`. Call once."""
        closed = close(entry, self._clock.time_ns())
        headers = self._headers(entry, RequestClosed)
        return Letter("closed", closed.SerializeToString(), headers, key=_tenant(entry))

    def _acceptance(self, entry: Entry) -> RequestAccepted:
        principal = entry.submission.principal
        return RequestAccepted(
            request=entry.submission.request,
            policies=entry.policies,
            project=principal.project,
            key=principal.key,
        )

    def _request_record(self, entry: Entry, message: Message, revision: int) -> Letter:
        headers = self._headers(entry, type(message), ttl=True, revision=revision)
        return Letter("requests", message.SerializeToString(), headers, key=entry.octets)

    def _headers(
        self,
        entry: Entry,
        kind: type[Message],
        *,
        ttl: bool = False,
        attempt: int = 0,
        revision: int = 0,
        to: int = 0,
    ) -> Headers:
        """What `Envelope` would make of it; what all records of a request share is made once."""
        if not entry.headers:
            entry.headers = self._common(entry)
        name = kind.DESCRIPTOR.name
        found = [
            ("type", name.encode()),
            ("event_id", event_id(entry.request, attempt, revision, SERVICE, name).encode()),
            *entry.headers,
        ]
        if ttl:
            left = entry.machine.terms.deadline - self._clock.monotonic()
            found.append(("ttl_ms", b"%d" % max(1, round(left * 1000))))
        if attempt:
            found.append(("attempt", b"%d" % attempt))
            found.append(("to", b"%d" % to))
        if revision:
            found.append(("revision", b"%d" % revision))
        return tuple(found)

    def _common(self, entry: Entry) -> Headers:
        envelope = Envelope(
            type="",
            event_id="",
            sender=self._incarnation,
            request=entry.request,
            tenant=entry.submission.principal.organisation,
            owner=self._incarnation,
            lane=entry.lane,
            config_offset=entry.config_offset,
            traceparent=format_traceparent(entry.span) if entry.span else b"",
        )
        return tuple(header for header in envelope.headers() if header[0] not in ("type", "event_id"))


def _tenant(entry: Entry) -> bytes:
    return entry.submission.principal.organisation.encode()


def _prefixes(machine: Machine) -> list[Prefix]:
    return [
        Prefix(choice=choice.number, ids=choice.ids, from_index=len(choice.ids))
        for choice in machine.choices
        if not choice.ended
    ]
