"""Who may do what on a broker, derived from who writes and reads each topic."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Literal, NamedTuple

from shared.bus.topics import Topics

CLUSTER: Final = "kafka-cluster"
"""The name of whatever cluster it is."""


class Rights(NamedTuple):
    """All that one service needs, by names on the broker; whatever is not here is to be refused."""

    service: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    groups: tuple[str, ...]


def rights(topics: Topics, prefix: str = "") -> list[Rights]:
    """Of each service that the topics name, sorted by name."""
    writes: dict[str, set[str]] = defaultdict(set)
    reads: dict[str, set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    for topic in topics.values():
        for writer in topic.writers:
            writes[writer].add(topic.name)
        for reader in topic.assigned:
            reads[reader].add(topic.name)
        for group in topic.groups:
            reader = group.partition(".")[0]
            reads[reader].add(topic.name)
            groups[reader].add(group)
    return [
        Rights(
            service,
            *(tuple(f"{prefix}{name}" for name in sorted(kind[service])) for kind in (writes, reads, groups)),
        )
        for service in sorted({*writes, *reads})
    ]


class Binding(NamedTuple):
    """One right as the wire has it."""

    principal: str
    kind: Literal["topic", "group", "cluster"]
    name: str
    operation: Literal["read", "write", "idempotent_write"]


def bindings(topics: Topics, prefix: str = "") -> list[Binding]:
    """All rights of all services, one by one; the same as `commands` gives."""
    found = []
    for one in rights(topics, prefix):
        who = f"User:{one.service}"
        found += [Binding(who, "topic", name, "write") for name in one.writes]
        found += [Binding(who, "topic", name, "read") for name in one.reads]
        found += [Binding(who, "group", name, "read") for name in one.groups]
        if one.writes:
            found.append(Binding(who, "cluster", CLUSTER, "idempotent_write"))
    return found


def commands(topics: Topics, tool: str, prefix: str = "") -> list[str]:
    """Lines for a shell, each `tool` (`kafka-acls.sh` and how it reaches the brokers) with one addition.

    The principals are the services' names. Writing with idempotence is a right of its own; seeing a topic
    or group comes with writing or reading it.
    """
    found = rights(topics, prefix)
    lines = []
    for one in found:
        who = f"{tool} --add --force --allow-principal User:{one.service}"
        if one.writes:
            lines.append(f"{who} --operation Write{_all('topic', one.writes)}")
        if one.reads:
            lines.append(f"{who} --operation Read{_all('topic', one.reads)}{_all('group', one.groups)}")
    writers = "".join(f" --allow-principal User:{one.service}" for one in found if one.writes)
    return [*lines, f"{tool} --add --force{writers} --operation IdempotentWrite --cluster"]


def _all(kind: str, names: tuple[str, ...]) -> str:
    return "".join(f" --{kind} {name}" for name in names)
