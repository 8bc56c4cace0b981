"""Control's statements: plain functions of a connection, each within the caller's transaction."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from google.protobuf.message import Message
from sqlalchemy import Connection, delete, func, insert, select, update

from services.control import tables
from shared.bus.envelope import Envelope
from shared.configuration import config_key
from shared.contracts.freehold.control.v1.config_pb2 import Marker
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.storage.outbox import Outgoing, append
from shared.storage.sql import alone

_PUBLISHED = "configuration"
"""Whoever writes values, facts or what is to be published of them is alone with it: versions and `seq` have
no gap, and the outbox stands in the order of the commits.
"""


class Change(NamedTuple):
    """Who changes what."""

    kind: str
    id: str
    value: Message
    who: str
    approver: str
    organisation: str
    now_ns: int


def put(connection: Connection, change: Change, sender: int) -> int:
    """Store a value, its fact and both records; the value's new version. Unchanged = nothing is done."""
    alone(connection, _PUBLISHED)
    encoded = change.value.SerializeToString(deterministic=True)
    where = (tables.values.c.kind == change.kind) & (tables.values.c.id == change.id)
    before = connection.execute(select(tables.values.c.version, tables.values.c.value).where(where)).first()
    if before is not None and before.value == encoded:
        return int(before.version)
    version = 1 if before is None else int(before.version) + 1
    row = {"version": version, "value": encoded}
    if before is None:
        connection.execute(insert(tables.values).values(kind=change.kind, id=change.id, **row))
    else:
        connection.execute(update(tables.values).where(where).values(**row))
    fact = ConfigurationChanged(
        seq=_next_seq(connection),
        kind=change.kind,
        id=change.id,
        version=version,
        who=change.who,
        approver=change.approver,
        digest_before=_digest(before.value) if before is not None else b"",
        digest_after=_digest(encoded),
        changed_ns=change.now_ns,
        organisation=change.organisation,
    )
    encoded_fact = fact.SerializeToString(deterministic=True)
    connection.execute(insert(tables.facts).values(seq=fact.seq, fact=encoded_fact))
    value_record = value_outgoing(change.kind, change.id, version, encoded, sender)
    append(connection, tables.outbox, [value_record, fact_outgoing(fact, sender)])
    return version


def value_outgoing(kind: str, identifier: str, version: int, encoded: bytes, sender: int) -> Outgoing:
    """The record on `config` of a value."""
    envelope = Envelope(kind.capitalize(), f"config/{kind}/{identifier}/{version}", sender)
    return Outgoing("config", config_key(kind, identifier), encoded, envelope.headers())


def fact_outgoing(fact: ConfigurationChanged, sender: int) -> Outgoing:
    """The record on `facts` of a change."""
    envelope = Envelope("ConfigurationChanged", f"change/{fact.seq}", sender, tenant=fact.organisation)
    return Outgoing("facts", None, fact.SerializeToString(deterministic=True), envelope.headers())


def publish_all(connection: Connection, sender: int) -> int:
    """Put every value and then a marker of a new epoch into the outbox; the epoch."""
    alone(connection, _PUBLISHED)
    rows = connection.execute(select(tables.values).order_by(tables.values.c.kind, tables.values.c.id))
    records = [value_outgoing(row.kind, row.id, row.version, row.value, sender) for row in rows]
    epoch = (
        int(connection.execute(select(func.coalesce(func.max(tables.epochs.c.epoch), 0))).scalar_one()) + 1
    )
    connection.execute(delete(tables.epochs))
    connection.execute(insert(tables.epochs).values(id=1, epoch=epoch))
    append(connection, tables.outbox, [*records, marker_outgoing(epoch, sender)])
    return epoch


def mark(connection: Connection, epoch: int, sender: int) -> None:
    """Put a marker into the outbox, behind everything that stands there."""
    alone(connection, _PUBLISHED)
    append(connection, tables.outbox, [marker_outgoing(epoch, sender)])


def marker_outgoing(epoch: int, sender: int) -> Outgoing:
    """The record on `config` of a marker."""
    envelope = Envelope("Marker", f"marker/{epoch}", sender)
    return Outgoing(
        "config", config_key("marker", "control"), Marker(epoch=epoch).SerializeToString(), envelope.headers()
    )


def stored(connection: Connection) -> list[tuple[str, str, bytes]]:
    """Every value as (kind, id, encoded)."""
    return [(row.kind, row.id, row.value) for row in connection.execute(select(tables.values))]


def facts_between(connection: Connection, first: int, last: int) -> list[bytes]:
    """The facts of a range, both inclusive, by `seq`."""
    column = tables.facts.c.seq
    rows = connection.execute(select(tables.facts.c.fact).where(column.between(first, last)).order_by(column))
    return [row.fact for row in rows]


def claim(
    connection: Connection, kind: int, count: int, incarnation: int, now_ms: int, free_ms: int, total: int
) -> list[int]:
    """Numbers of a process: those it holds, else the lowest free, else the one longest not renewed.

    Who holds some gets no more: it may be a renewal, whose answer nobody waits for.
    """
    alone(connection, f"numbers/{kind}")
    table = tables.numbers
    rows = connection.execute(select(table).where(table.c.kind == kind, table.c.number < total)).all()
    mine = str(incarnation)
    held = sorted(row.number for row in rows if row.incarnation == mine)[:count]
    taken = {row.number: row.renewed_ms for row in rows if row.incarnation != mine}
    free = [n for n in range(total) if taken.get(n, now_ms - free_ms) <= now_ms - free_ms][:count]
    chosen = held or free or [min(taken, key=lambda n: (taken[n], n))]
    connection.execute(delete(table).where(table.c.kind == kind, table.c.number.in_(chosen)))
    connection.execute(
        insert(table),
        [{"kind": kind, "number": n, "incarnation": mine, "renewed_ms": now_ms} for n in chosen],
    )
    return chosen


def _next_seq(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(tables.facts.c.seq), 0))).scalar_one()) + 1


def _digest(encoded: bytes) -> bytes:
    return hashlib.sha256(encoded).digest()
