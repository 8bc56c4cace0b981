"""What a history left behind, joined by request: client's view, close, usages, rows, entries, leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from shared.bus.ports import Record
from shared.contracts.freehold.edge.v1.events_pb2 import GenerateTokens, RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from tests.simulation.clients import View
from tests.simulation.plan import Plan
from tests.simulation.world import World


@dataclass
class Case:
    """All that is known of one request."""

    request: str
    view: View | None = None
    closes: list[RequestClosed] = field(default_factory=list)
    closed_ms: int = 0
    usages: dict[int, list[tuple[int, UsageRecorded]]] = field(default_factory=dict)
    """By attempt: broker time and content of every copy."""
    works: dict[int, tuple[int, GenerateTokens]] = field(default_factory=dict)
    """By attempt: the worker that was meant, and the work."""
    row: Any = None
    entries: list[Any] = field(default_factory=list)
    leaves: list[dict[str, Any]] = field(default_factory=list)

    @property
    def who(self) -> str:
        """For a complaint."""
        number = f"client {self.view.ask.number}, " if self.view else ""
        return f"{number}request {self.request}"

    @property
    def settlement(self) -> Any:
        """Its one settling entry; None where there is none."""
        return next((entry for entry in self.entries if entry.kind == "settlement"), None)


@dataclass
class Evidence:
    """The whole history."""

    world: World
    plan: Plan
    views: list[View]
    cases: dict[str, Case]

    def rows(self, disk: str, statement: str) -> list[Any]:
        """What a database says."""
        return query(self.world, disk, statement)


def query(world: World, disk: str, statement: str) -> list[Any]:
    """All rows of a statement."""
    return world.disks[disk].work(lambda connection: connection.execute(text(statement)).all(), write=False)


def gather(world: World, plan: Plan, views: list[View]) -> Evidence:
    """Join everything."""
    cases: dict[str, Case] = {}

    def case(request: str) -> Case:
        return cases.setdefault(request, Case(request))

    for view in views:
        if view.request:
            case(view.request).view = view
    for record in world.broker.records("closed"):
        found = case(_header(record, "request"))
        found.closes.append(RequestClosed.FromString(record.value))
        found.closed_ms = found.closed_ms or record.timestamp_ms
    for record in world.broker.records("usage"):
        usage = UsageRecorded.FromString(record.value)
        copies = case(_header(record, "request")).usages.setdefault(usage.attempt, [])
        copies.append((record.timestamp_ms, usage))
    for record in world.broker.records("work"):
        if _header(record, "type") == "GenerateTokens":
            number = int(_header(record, "attempt"))
            work = GenerateTokens.FromString(record.value)
            case(_header(record, "request")).works[number] = (int(_header(record, "to")), work)
    for row in query(world, "billing", "SELECT * FROM requests"):
        case(row.request).row = row
    for entry in query(world, "billing", "SELECT * FROM entries"):
        case(entry.request).entries.append(entry)
    for leaf in query(world, "audit", "SELECT request, entry FROM leaves WHERE request <> ''"):
        case(leaf.request).leaves.append(json.loads(leaf.entry))
    return Evidence(world, plan, views, cases)


def _header(record: Record, name: str) -> str:
    return dict(record.headers).get(name, b"").decode()
