"""The brokers: logs that lose nothing, and groups that share them.

They keep Kafka's promises and no more: order within a partition, at least once from the last commit,
members that fall silent lose their partitions after a session without being asked, and a member that comes
back under its own name in time keeps them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from shared.bus.local_groups import share
from shared.bus.ports import Assigned, Headers, Position, Record, Revoked, TopicPartition
from shared.bus.topics import Topics
from tests.simulation.loop import SimLoop
from tests.simulation.process import EPOCH_NS, Process
from tests.simulation.weather import Weather

SESSION_S = 6.0
REVOKE_S = 12.0
"""How long a member may take to give partitions up."""


class Follower(ABC):
    """A reader as the brokers know it: where it stands, and how to wake it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.at: dict[TopicPartition, int] = {}
        """Next offset of each partition that it has."""
        self.frozen: set[TopicPartition] = set()
        """Partitions that are being taken away: nothing more is read of them."""
        self.paused: set[TopicPartition] = set()
        self.stale = False
        """Whether its group has given its partitions to others without its knowing."""

    @abstractmethod
    def notify(self, place: TopicPartition) -> None:
        """A record was appended."""


@dataclass(eq=False)
class Member:
    """One reader of a group."""

    name: str
    follower: Follower
    topics: frozenset[str]
    on_assigned: Assigned
    on_revoked: Revoked
    gone: bool = False


@dataclass(eq=False)
class Group:
    """Who reads what of a group's topics, and how far it has been read for good."""

    name: str
    members: dict[str, Member] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    owners: dict[TopicPartition, Member] = field(default_factory=dict)
    rotation: int = 0
    wanted: bool = False
    task: asyncio.Task[None] | None = None


class Broker:
    """All logs and groups of one world."""

    def __init__(self, loop: SimLoop, topics: Topics, weather: Weather) -> None:
        self.loop = loop
        self.topics = topics
        self.weather = weather
        self.down = False
        self.logs: dict[TopicPartition, list[Record]] = {
            TopicPartition(name, number): []
            for name, topic in topics.items()
            for number in range(topic.partitions)
        }
        self.groups: dict[str, Group] = {}
        self.on_append: Callable[[Record], None] | None = None
        self.on_store: Callable[[Process, str], None] | None = None
        self._followers: dict[TopicPartition, list[Follower]] = {place: [] for place in self.logs}

    def unreachable(self, process: Process) -> bool:
        """Whether the process has no way to the brokers now."""
        return self.down or process.cut

    def now_ms(self) -> int:
        """The brokers' own clock."""
        return EPOCH_NS // 1_000_000 + int(self.loop.now * 1000)

    def append(self, place: TopicPartition, key: bytes | None, value: bytes, headers: Headers) -> Position:
        """Write one record and wake its readers."""
        log, now_ms = self.logs[place], self.now_ms()
        record = Record(place.topic, place.partition, len(log), now_ms, key, value, headers)
        log.append(record)
        if self.on_append is not None:
            self.on_append(record)
        for follower in self._followers[place]:
            follower.notify(place)
        return Position(place.topic, place.partition, record.offset, now_ms)

    def records(self, topic: str) -> list[Record]:
        """All that was ever written to a topic."""
        return [record for place, log in self.logs.items() if place.topic == topic for record in log]

    def follow(self, follower: Follower, positions: Mapping[TopicPartition, int]) -> None:
        """The reader has these partitions from now on."""
        for place, offset in positions.items():
            follower.at[place] = offset
            if follower not in self._followers[place]:
                self._followers[place].append(follower)
            if offset < len(self.logs[place]):
                follower.notify(place)

    def leave(self, follower: Follower, places: Iterable[TopicPartition]) -> None:
        """The reader no longer has these."""
        for place in list(places):
            follower.at.pop(place, None)
            follower.frozen.discard(place)
            follower.paused.discard(place)
            if follower in self._followers[place]:
                self._followers[place].remove(follower)

    # Groups

    async def join(self, group: str, member: Member) -> None:
        """Return once the member has its share."""
        joined = self.groups.setdefault(group, Group(group))
        before = joined.members.get(member.name)
        joined.members[member.name] = member
        process = member.follower.process
        process.on_death.append(lambda: self._missed(joined, member))
        if before is not None:
            # Static membership: the name's partitions stay with it, and nobody else is asked.
            self._forget(joined, before)
        await asyncio.shield(self.rebalance(joined))

    def depart(self, group: str, member: Member) -> None:
        """The member leaves by itself."""
        joined = self.groups[group]
        if joined.members.get(member.name) is member:
            del joined.members[member.name]
        self._forget(joined, member)
        self.rebalance(joined)

    def commit(self, group: str, member: Member, offsets: Mapping[TopicPartition, int]) -> None:
        """Store what the member may still speak for."""
        process = member.follower.process
        if self.on_store is not None:
            self.on_store(process, group)
        if not process.alive and self.weather.coin():
            return
        joined = self.groups[group]
        for place, offset in offsets.items():
            if joined.owners.get(place) is member:
                joined.committed[place] = offset

    def silent(self, process: Process) -> None:
        """The process has stopped or is cut off: its members have a session's time to be heard again."""
        for group in self.groups.values():
            for member in list(group.members.values()):
                if member.follower.process is process:
                    self._missed(group, member)

    def shake(self, group: str) -> None:
        """Share the partitions differently, as a rebalance storm does; a sole member gets all again."""
        joined = self.groups.get(group)
        if joined is not None:
            joined.rotation += 1
            self.rebalance(joined, everything=True)

    def rebalance(self, group: Group, *, everything: bool = False) -> asyncio.Task[None]:
        """Share anew; the task ends when no change is outstanding."""
        group.wanted = True
        if group.task is None or group.task.done():
            coroutine = self._rebalance(group, everything)
            group.task = self.loop.spawn(self.loop.world, coroutine, f"rebalance.{group.name}")
        return group.task

    def _missed(self, group: Group, member: Member) -> None:
        self.loop.after(SESSION_S, self._expire, group, member, self.loop.now)

    def _expire(self, group: Group, member: Member, since: float) -> None:
        process = member.follower.process
        heard = process.alive and not process.lane.stopped and not process.cut
        if heard or group.members.get(member.name) is not member:
            return
        del group.members[member.name]
        member.follower.stale = True
        self._forget(group, member)
        self.rebalance(group)

    def _forget(self, group: Group, member: Member) -> None:
        member.gone = True
        held = [place for place, owner in group.owners.items() if owner is member]
        for place in held:
            del group.owners[place]
            self._unfollow(member.follower, place)

    def _unfollow(self, follower: Follower, place: TopicPartition) -> None:
        if follower in self._followers[place]:
            self._followers[place].remove(follower)

    async def _rebalance(self, group: Group, everything: bool) -> None:
        while group.wanted:
            group.wanted = False
            if everything:
                everything = False
                for member in list(group.members.values()):
                    await self._take(group, member, self._held(group, member))
            shares = self._shares(group)
            for name, member in list(group.members.items()):
                keeps = shares.get(name, set())
                await self._take(group, member, [p for p in self._held(group, member) if p not in keeps])
            if group.wanted:
                continue
            for name, member in list(group.members.items()):
                places = sorted(place for place in shares.get(name, ()) if place not in group.owners)
                await self._give(group, member, places)

    def _shares(self, group: Group) -> dict[str, set[TopicPartition]]:
        places = [
            place
            for place in self.logs
            if any(place.topic in member.topics for member in group.members.values())
        ]
        names = sorted(group.members)
        turned = {name: names[(number + group.rotation) % len(names)] for number, name in enumerate(names)}
        found = share(places, {name: member.topics for name, member in group.members.items()})
        return {turned[name]: held for name, held in found.items()}

    def _held(self, group: Group, member: Member) -> list[TopicPartition]:
        return sorted(place for place, owner in group.owners.items() if owner is member)

    async def _take(self, group: Group, member: Member, places: list[TopicPartition]) -> None:
        if not places:
            return
        for place in places:
            self._unfollow(member.follower, place)
        member.follower.frozen.update(places)
        await self._tell(member, member.on_revoked, places, REVOKE_S)
        for place in places:
            if group.owners.get(place) is member:
                del group.owners[place]
        self.leave(member.follower, places)

    async def _give(self, group: Group, member: Member, places: list[TopicPartition]) -> None:
        if not places or member.gone:
            return
        for place in places:
            group.owners[place] = member
        await self._tell(member, member.on_assigned, places, SESSION_S / 2)
        mine = {place: group.committed.get(place, 0) for place in places if group.owners.get(place) is member}
        self.follow(member.follower, mine)

    async def _tell(
        self, member: Member, callback: Assigned | Revoked, places: list[TopicPartition], seconds: float
    ) -> None:
        """Let the member act in its own process; whoever does not answer in time is not waited for."""
        process = member.follower.process
        if not process.alive:
            return
        told = self.loop.spawn(process.lane, callback(places), "told")  # type: ignore[arg-type]
        answered = self.loop.create_future()
        told.add_done_callback(lambda _: None if answered.done() else answered.set_result(None))
        process.on_death.append(lambda: None if answered.done() else answered.set_result(None))
        limit = self.loop.after(seconds, lambda: None if answered.done() else answered.set_result(None))
        await answered
        limit.cancel()
        if told.done() and not told.cancelled() and (error := told.exception()) is not None:
            self.loop.failures.append(f"{process.lane.name}: could not give up or take partitions: {error!r}")
