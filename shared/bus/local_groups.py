"""Consumer groups of the local bus: members, offsets, and who reads which partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from shared.bus.local_reader import LocalReader
from shared.bus.ports import Assigned, Revoked, TopicPartition
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

CALLBACK_S = 30.0
"""How long a member may drain before its partitions are taken regardless."""


def share(
    partitions: Iterable[TopicPartition], subscriptions: Mapping[str, frozenset[str]]
) -> dict[str, set[TopicPartition]]:
    """Who reads what: each partition goes to one of the members that want its topic, by number.

    The same members get the same partitions, whatever the order in which they came.
    """
    shares: dict[str, set[TopicPartition]] = {member: set() for member in subscriptions}
    for place in partitions:
        wanting = sorted(name for name, topics in subscriptions.items() if place.topic in topics)
        if wanting:
            shares[wanting[place.partition % len(wanting)]].add(place)
    return shares


@dataclass(eq=False)
class Member:
    """One reader of a group, and how to tell it."""

    reader: LocalReader
    topics: frozenset[str]
    on_assigned: Assigned
    on_revoked: Revoked


class Group:
    """The members of one group. Rebalances run one after another in a task of their own; only
    partitions that move are revoked.
    """

    def __init__(
        self,
        name: str,
        partitions: Callable[[str], list[TopicPartition]],
        committed: Mapping[TopicPartition, int],
        tasks: Tasks,
    ) -> None:
        self.name = name
        self.topics: set[str] = set()
        """Every topic that a member ever wanted: what it has not read is kept."""
        self.committed: dict[TopicPartition, int] = dict(committed)
        self._partitions = partitions
        self._tasks = tasks
        self._members: dict[str, Member] = {}
        self._running: asyncio.Task[None] | None = None
        self._wanted = False
        self._shaken: list[tuple[Member, set[TopicPartition]]] = []

    async def join(self, name: str, member: Member) -> None:
        """Return once the member has its share. A member of the same name is replaced and gets
        nothing more; its partitions go to the new one without a word to the others.
        """
        if (before := self._members.get(name)) is not None:
            before.reader.end(f"another reader joined {self.name} as {name}")
        self._members[name] = member
        self.topics |= member.topics
        await asyncio.shield(self.rebalance())

    def leave(self, member: Member) -> None:
        """Forget a member whose reader has ended; its partitions go to the others."""
        for name, present in list(self._members.items()):
            if present is member:
                del self._members[name]
                self.rebalance()

    def rebalance(self) -> asyncio.Task[None]:
        """Share the partitions anew; the task ends when no change is outstanding."""
        self._wanted = True
        if self._running is None or self._running.done():
            self._running = self._tasks.spawn(self._rebalance(), f"rebalance.{self.name}")
        return self._running

    async def shake(self, member: Member, places: Iterable[TopicPartition]) -> None:
        """Take partitions from a member and give them back, as a rebalance for no reason does."""
        self._shaken.append((member, set(places)))
        await asyncio.shield(self.rebalance())

    async def _rebalance(self) -> None:
        while self._wanted:
            self._wanted = False
            shaken, self._shaken = self._shaken, []
            for member, places in shaken:
                await self._revoke(member, places)
            shares = share(self._all_partitions(), {name: one.topics for name, one in self._members.items()})
            for name, member in list(self._members.items()):
                await self._revoke(member, set(member.reader.positions()) - shares[name])
            if self._wanted:
                continue  # somebody came or went meanwhile
            for name, member in list(self._members.items()):
                await self._assign(member, shares.get(name, set()) - set(member.reader.positions()))

    def _all_partitions(self) -> list[TopicPartition]:
        wanted = {topic for member in self._members.values() for topic in member.topics}
        return [place for topic in sorted(wanted) for place in self._partitions(topic)]

    async def _revoke(self, member: Member, places: set[TopicPartition]) -> None:
        if held := places & set(member.reader.positions()):
            member.reader.freeze(held)
            await self._tell(member.on_revoked, held)
            member.reader.take(held)

    async def _assign(self, member: Member, places: set[TopicPartition]) -> None:
        if places:
            await self._tell(member.on_assigned, places)
        if member in self._members.values():
            member.reader.give({place: self.committed.get(place, 0) for place in sorted(places)})

    async def _tell(
        self, callback: Callable[[Iterable[TopicPartition]], Awaitable[None]], places: set[TopicPartition]
    ) -> None:
        try:
            async with asyncio.timeout(CALLBACK_S):
                await callback(sorted(places))
        except Exception:
            log.exception("%s: a member failed to give up or take partitions", self.name)
