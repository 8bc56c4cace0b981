"""Whether a history has come to rest: nobody waits, nothing is open, everything stands in the log."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from services.edge.owner.owner import Owner
from tests.simulation.assembly import Parts
from tests.simulation.clients import Clients
from tests.simulation.world import World

_REQUESTS = "SELECT request, state FROM requests"


def unsettled(world: World, clients: Clients) -> list[str]:
    """What is not at rest, in words; the first few things found."""
    found = [f"client {view.ask.number} waits" for view in clients.views if not view.over]
    if found:
        return found
    if not world.ready():
        return [f"not ready: {world.why()}"]
    for name, parts in world.parts.items():
        found += _busy(name, parts)
    return found or _books(world)


def _busy(name: str, parts: Parts) -> list[str]:
    service = parts.service
    if isinstance(service, Owner):
        flying, insisting = len(service._in_flight), len(service._carrier.insistence)
        return [f"{name}: {flying} in flight, {insisting} unacknowledged"] if flying or insisting else []
    plant = getattr(service, "_plant", None)
    if plant is not None:
        running, waiting = len(plant.generation.attempts()), plant.usage.waiting
        return [f"{name}: {running} attempts, {waiting} usages"] if running or waiting else []
    return []


def _books(world: World) -> list[str]:
    billing, audit, control = (world.disks[name] for name in ("billing", "audit", "control"))
    rows = billing.work(lambda connection: connection.execute(text(_REQUESTS)).all(), write=False)
    states = dict.fromkeys(_told_of(world), "not known to billing") | {row.request: row.state for row in rows}
    if rest := [f"request {name} is {state}" for name, state in states.items() if state != "settled"]:
        return rest
    waiting = [
        disk.work(
            lambda connection: connection.execute(text("SELECT COUNT(*) FROM outbox")).scalar_one(),
            write=False,
        )
        for disk in (billing, control)
    ]
    if any(waiting):
        return [f"outboxes hold {waiting}"]
    facts = control.work(
        lambda connection: connection.execute(text("SELECT COUNT(*) FROM facts")).scalar_one(), write=False
    )
    size = audit.work(
        lambda connection: connection.execute(text("SELECT size FROM head")).scalar_one(), write=False
    )
    log = world.parts["audit-0"].service.log
    if size != len(rows) + facts or log.signed != size:
        return [
            f"the log has {size} entries, {log.signed} signed, of {len(rows)} settlements and {facts} changes"
        ]
    return []


def _told_of(world: World) -> Iterator[str]:
    """Requests of which billing is told, whether it has read of them or not."""
    for topic in ("reserves", "closed"):
        for record in world.broker.records(topic):
            yield dict(record.headers)["request"].decode()
