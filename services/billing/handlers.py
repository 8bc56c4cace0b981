"""Events in, events out: reserves are answered, usages and closes are settled."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError, Message

from services.billing.books import settling
from services.billing.books.booking import STATES
from services.billing.books.reserving import Ask, idempotency, reserve
from services.billing.books.rows import park
from services.billing.books.settling import CloseEvent, Settled, UsageEvent, settle_batches
from services.billing.evidence import answer
from services.billing.joining import Joining
from services.billing.observing import Observer
from services.billing.publishing import SERVICE, Facts
from services.billing.terms import Size, terms
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.handling import Batch, Later
from shared.bus.ports import Position, Publisher, Record, RecordInvalid
from shared.configuration import Configuration
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed, ReserveBudget
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestFailed
from shared.host import Host
from shared.ids import event_id
from shared.storage.database import Database
from shared.telemetry import Turn

STREAMS: Final = 2
"""Transactions of settlements at a time: one computes while the database works for the other."""
_CODES: Final[Mapping[type[Exception], str]] = {DecodeError: "undecodable", Later: "configuration_behind"}


class NotUnderstood(RecordInvalid):
    """A record that says what it may not, such as a request that is no UUID."""


class ReserveHandler:
    """Answers `ReserveBudget` on the owner's lane of `replies`."""

    def __init__(
        self,
        configuration: Configuration,
        database: Database,
        bus: Publisher,
        incarnation: int,
        observer: Observer,
    ) -> None:
        self._configuration = configuration
        self._database = database
        self._bus = bus
        self._incarnation = incarnation
        self._observer = observer

    async def __call__(self, batch: Batch) -> None:
        """Reserve a batch in one transaction; return once every answer is acknowledged.

        Raises `Later` where a request knows a newer configuration, `DatabaseError` and `BusError`
        where a repetition helps, and what a record is at fault for.
        """
        with self._observer.turn(batch.topic) as turn:
            await self._handle(batch, turn)

    async def _handle(self, batch: Batch, turn: Turn) -> None:
        envelopes = [parse_envelope(record.headers) for record in batch.records]
        if max(envelope.config_offset for envelope in envelopes) > self._configuration.offset:
            raise Later("a request was accepted under a configuration that is not here yet")
        asks = [
            self._ask(envelope, record) for envelope, record in zip(envelopes, batch.records, strict=True)
        ]
        begun = self._observer.now()
        rows = await self._database.transact(lambda connection: reserve(connection, asks))
        turn.stored(begun)
        for ask, row in zip(asks, rows, strict=True):
            if ask.organisation != row.organisation:  # its answer would tell a price of somebody else's
                raise NotUnderstood("the request is another tenant's")
        sent: list[Awaitable[Position]] = []
        for envelope, row in zip(envelopes, rows, strict=True):
            trace = self._observer.reserved(turn, row, envelope.traceparent)
            sent.append(self._reply(envelope, answer(row), trace))
        for acknowledged in sent:
            await acknowledged
        self._observer.end_reserve(turn)

    async def answer_poison(self, record: Record, error: Exception) -> None:
        """Tell the owner of a record that was dead-lettered. Raises `EnvelopeError` where nobody owns it."""
        envelope = parse_envelope(record.headers)
        failed = RequestFailed(stage=SERVICE, code=_CODES.get(type(error), "failed"))
        await self._reply(envelope, failed, envelope.traceparent)

    def _ask(self, envelope: Envelope, record: Record) -> Ask:
        _check(envelope, "ReserveBudget")
        asked = ReserveBudget.FromString(record.value)
        scope = (envelope.tenant, asked.project, asked.key)
        size = Size(asked.prompt_bound, asked.max_output, max(1, asked.choices))
        return Ask(
            envelope.request,
            *scope,
            asked.model,
            str(envelope.owner),
            idempotency(envelope.tenant, asked.project, asked.idempotency_key),
            asked.body_fingerprint,
            terms(self._configuration, scope, asked.model, size, record.timestamp_ms),
            record.timestamp_ms,
            envelope.ttl_ms,
            envelope.traceparent,
        )

    def _reply(self, asked: Envelope, message: Message, traceparent: bytes) -> Awaitable[Position]:
        kind = message.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(asked.request, 0, asked.revision, SERVICE, kind),
            sender=self._incarnation,
            request=asked.request,
            tenant=asked.tenant,
            owner=asked.owner,
            lane=asked.lane,
            to=asked.owner,
            config_offset=asked.config_offset,
            traceparent=traceparent,
        )
        return self._bus.publish(
            "replies", message.SerializeToString(), envelope.headers(), partition=asked.lane
        )


class SettleHandler:
    """Settles requests from `usage` and `closed`, and publishes what became of them."""

    def __init__(
        self,
        configuration: Configuration,
        database: Database,
        facts: Facts,
        host: Host,
        observer: Observer,
        interval_s: float,
        full: int,
    ) -> None:
        """Less than `full` records wait until `interval_s` after the last transaction: what comes meanwhile
        shares the next one, and reserves, which clients wait for, find the database free.
        """
        self._configuration = configuration
        self._database = database
        self._facts = facts
        self._clock = host.clock
        self._observer = observer
        self._streams = [Joining(self._settle, host.clock, interval_s, full) for _ in range(STREAMS)]

    async def __call__(self, batch: Batch) -> None:
        """Settle a batch in one transaction, with others that are there at the same time; return once its
        facts are durable on the bus.

        Raises `DatabaseError` and `BusError` where a repetition helps, and what a record is at fault for.
        """
        # Usages and closes of one tenant lie in partitions of the same number, and meet so.
        stream = self._streams[batch.partition % STREAMS]
        await stream.add(self._events(batch), len(batch.records))

    async def stop(self) -> None:
        """Give up what still runs: it comes again."""
        for stream in self._streams:
            await stream.stop()

    async def _settle(self, batches: Sequence[settling.Batch]) -> None:
        with self._observer.turn(min(batch.topic for batch in batches)) as turn:
            now_ns = self._clock.time_ns()
            settled = await self._database.transact(
                lambda connection: settle_batches(connection, batches, now_ns)
            )
            turn.stored(now_ns)
            parents = self._observer.settled(turn, settled.booked)
            facts = self._facts
            sent = [
                facts.publish(item.fact, parent) for item, parent in zip(settled.booked, parents, strict=True)
            ]
            sent += [facts.publish(fact, fact.traceparent) for fact in settled.again]
            for acknowledged in sent:
                await acknowledged
            self._note(settled)
            self._observer.end_settle(turn)

    async def park(self, record: Record, error: Exception) -> None:
        """Keep a record that cannot be settled, whole, for an operator. Raises `DatabaseError`."""
        reason = f"{type(error).__name__}: {error}"
        await self._database.transact(lambda connection: park(connection, record, reason))
        self._observer.parked(record.topic)

    def _note(self, settled: Settled) -> None:
        self._observer.late(settled.late)
        for record in settled.parked:
            self._observer.parked(record.topic)

    def _events(self, batch: Batch) -> settling.Batch:
        events = settling.Batch(batch.topic, batch.partition, batch.records[-1].offset + 1)
        for record in batch.records:
            envelope = parse_envelope(record.headers)
            if batch.topic == "usage":
                events.usages.append(self._usage(envelope, record))
            else:
                events.closes.append(_close(envelope, record))
        return events

    def _usage(self, envelope: Envelope, record: Record) -> UsageEvent:
        usage = UsageRecorded.FromString(record.value)
        _check(envelope, "UsageRecorded", tenant=not usage.diagnostic)
        event = UsageEvent(envelope.request, envelope.tenant, usage, record)
        if not usage.diagnostic:
            return event
        currency, price = self._list_price(envelope.tenant, usage.model)
        return event._replace(currency=currency, price=price)

    def _list_price(self, tenant: str, model: str) -> tuple[str, int]:
        """Currency and output price of an operator's own generation: the tenant's, else the first one."""
        organisation = self._configuration.organisations.get(tenant)
        currencies = [organisation.currency] if organisation else []
        currencies += sorted({price.currency for price in self._configuration.prices.values()})
        for currency in currencies:
            if price := self._configuration.price_of(model, currency):
                return currency, price.output
        return "", 0


def _close(envelope: Envelope, record: Record) -> CloseEvent:
    _check(envelope, "RequestClosed")
    closed = RequestClosed.FromString(record.value)
    if not closed.state or closed.state not in STATES:
        raise NotUnderstood(f"{closed.state} is not a terminal state")
    return CloseEvent(
        envelope.request,
        envelope.tenant,
        str(envelope.owner),
        closed,
        envelope.traceparent,
        record,
    )


def _check(envelope: Envelope, kind: str, *, tenant: bool = True) -> None:
    """Raises `ValueError` where the record is not of its kind or cannot be anybody's."""
    if envelope.type != kind:
        raise NotUnderstood(f"{envelope.type} is not {kind}")
    if tenant and not envelope.tenant:
        raise NotUnderstood("no tenant is named")
    if not envelope.request:
        raise NotUnderstood("no request is named")
