"""One life of the library's consumer.

Reached into: a wake-up that its fetcher misses, whether its tasks live, when a partition was last
answered, a graceful leave for static members, and the moment before a member that the group no longer
knows would join again. There the library would take the place back from whoever has it now; ours asks
first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from shared.bus.kafka import (
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    ConsumerStoppedError,
    DescribeGroupsRequest,
    KafkaError,
    Place,
    RoundRobinPartitionAssignor,
    told,
)
from shared.bus.kafka_ending import ended
from shared.bus.kafka_heard import heard
from shared.bus.kafka_pace import pace
from shared.bus.kafka_timing import Timing
from shared.bus.ports import BusError, Record, TopicPartition
from shared.clock import Clock

FETCH_RECORDS = 2000
PARTITION_BYTES = 1 << 20
"""A larger record still comes, alone."""
FETCH_BYTES = 16 << 20
SUFFIX = len("-") + 36
"""What a broker adds to the name of a static member to make the member's id."""
DAY_MS = 86_400_000

Moved = Callable[[list[TopicPartition]], Awaitable[None]]


class _InFlight(set[Any]):
    """Brokers with a fetch on its way. Leaving wakes the library's fetcher: where a fetch ends in the very
    turn in which the fetcher is woken by something else, it sees the broker as busy and the fetch as seen
    to, and waits for its time-out with nothing on its way.
    """

    def __init__(self, fetcher: Any) -> None:
        super().__init__()
        self._fetcher = fetcher

    def discard(self, node: object) -> None:
        super().discard(node)
        self._fetcher._notify(self._fetcher._wait_consume_future)


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member's place in a group, and how its reader is told of what happens to it."""

    def __init__(
        self,
        group: str,
        name: str,
        revoked: Moved,
        assigned: Moved,
        fenced: Callable[[], None],
        failed: Callable[[BusError], None],
    ) -> None:
        self.group = group
        self.name = name
        self.revoked = revoked
        self.assigned = assigned
        self.fenced = fenced
        self.failed = failed
        self.prefix = ""

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """The library's call before a rebalance: of all partitions, whoever gets them."""
        await self.revoked(own(revoked, self.prefix))

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """The library's call after a rebalance."""
        await self.assigned(own(assigned, self.prefix))


def own(places: Iterable[Any], prefix: str) -> list[TopicPartition]:
    """As the port names them, in order."""
    return sorted(TopicPartition(place.topic.removeprefix(prefix), place.partition) for place in places)


class ConsumerLife:
    """From its start until it is silent, fenced or no longer wanted."""

    def __init__(
        self,
        given: Mapping[str, Any],
        timing: Timing,
        clock: Clock,
        prefix: str,
        membership: Membership | None,
    ) -> None:
        self._timing = timing
        self._prefix = prefix
        self._membership = membership
        group: dict[str, Any] = {"group_id": None}
        request, wait = timing.request, min(timing.fetch_wait_alone, timing.request / 2)
        if membership is not None:
            membership.prefix = prefix
            wait = timing.fetch_wait
            request = timing.rebalance + timing.request  # a join is answered when all have joined
            group = {
                "group_id": f"{prefix}{membership.group}",
                "group_instance_id": membership.name,
                "session_timeout_ms": int(timing.session * 1000),
                "heartbeat_interval_ms": int(timing.heartbeat * 1000),
                "rebalance_timeout_ms": int(timing.rebalance * 1000),
                # A handler that is slow must not lose its partitions to a member that is no faster:
                # revocation drains by a deadline of its own, and the watchdog sees who does not poll.
                "max_poll_interval_ms": DAY_MS,
                "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
            }
        self._consumer = AIOKafkaConsumer(
            **given,
            **group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=1,
            fetch_max_wait_ms=int(wait * 1000),
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_BYTES,
            consumer_timeout_ms=1000,
            request_timeout_ms=int(request * 1000),
            metadata_max_age_ms=60_000,
        )
        pace(self._consumer._client, clock)
        self._joined = False

    async def start(self) -> None:
        """Connect. Raises `BusError`."""
        try:
            async with asyncio.timeout(self._timing.request * 2):
                await self._consumer.start()
            self._consumer._fetcher._in_flight = _InFlight(self._consumer._fetcher)
        except (KafkaError, TimeoutError) as error:
            await self.end(leave=False)
            raise told(error, "connecting") from error
        except BaseException:
            await self.end(leave=False)
            raise

    async def read(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets, without a group."""
        places = {self._place(place): offset for place, offset in positions.items()}
        await self._know(place.topic for place in places)
        self._consumer.assign(list(places))
        for place, offset in places.items():
            self._consumer.seek(place, offset)

    async def join(self, topics: Iterable[str]) -> None:
        """Become a member; the membership is told of what follows."""
        names = [f"{self._prefix}{topic}" for topic in topics]
        await self._know(names)
        coordinator, library = self._consumer._coordinator, self._consumer._coordinator._do_rejoin_group

        async def rejoin(subscription: Any) -> bool:
            if self._joined and not coordinator.member_id and await self._replaced(coordinator):
                if self._membership is not None:
                    self._membership.fenced()
                await asyncio.wait((coordinator._closing,))
                return False
            joined: bool = await library(subscription)
            self._joined = self._joined or joined
            return joined

        library_push = coordinator._push_error_to_user

        def push(error: Exception) -> Any:
            if self._membership is not None:
                self._membership.failed(told(error, f"joining {self._membership.group}"))
            return library_push(error)

        coordinator._do_rejoin_group, coordinator._push_error_to_user = rejoin, push
        coordinator._do_commit_offsets = heard(coordinator._do_commit_offsets)
        self._consumer.subscribe(names, listener=self._membership)

    async def fetch(self, seconds: float) -> dict[TopicPartition, list[Record]]:
        """What has come; empty after so many seconds. Raises `BusError`."""
        try:
            found = await self._consumer.getmany(timeout_ms=int(seconds * 1000), max_records=FETCH_RECORDS)
        except (KafkaError, ConsumerStoppedError) as error:
            raise told(error, "fetching") from error
        skip = len(self._prefix)
        fetched: dict[TopicPartition, list[Record]] = {}
        for place, records in found.items():
            topic, number = place.topic[skip:], place.partition
            fetched[TopicPartition(topic, number)] = [
                Record(topic, number, one.offset, one.timestamp, one.key, one.value or b"", one.headers)
                for one in records
            ]
        return fetched

    async def committed(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The group's offsets, of those partitions that have one. Raises `BusError`."""
        wanted = {self._place(place): place for place in places}
        try:
            async with asyncio.timeout(self._timing.ask):
                found = await self._consumer._coordinator.fetch_committed_offsets(list(wanted))
        except (KafkaError, TimeoutError) as error:
            raise told(error, "asking for the group's offsets") from error
        return {wanted[full]: place.offset for full, place in found.items() if place.offset >= 0}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store these for the group, and only these. Raises `BusError`."""
        try:
            async with asyncio.timeout(self._timing.ask):
                await self._consumer.commit({self._place(place): offset for place, offset in offsets.items()})
        except (KafkaError, TimeoutError) as error:
            raise told(error, "committing") from error

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Fetch the partition from this offset on."""
        self._consumer.seek(self._place(place), offset)

    def pause(self, place: TopicPartition, paused: bool) -> None:
        """Whether the partition is fetched."""
        (self._consumer.pause if paused else self._consumer.resume)(self._place(place))

    def state(self, place: TopicPartition) -> tuple[int, int]:
        """Offset that will be fetched next, and the stamp of the last answer; -1 where there is none."""
        subscription = self._consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(self._place(place)) if assignment is not None else None
        if state is None or not state.has_valid_position:
            return -1, -1
        return state.position, -1 if state.timestamp is None else state.timestamp

    def rejoin(self) -> None:
        """Give the partitions up and join again."""
        self._consumer._coordinator.request_rejoin()

    def dead(self) -> bool:
        """Whether a task of the library has ended that must not."""
        consumer = self._consumer
        coordinating = getattr(consumer._coordinator, "_coordination_task", None)
        return bool(
            consumer._fetcher._fetch_task.done() or (coordinating is not None and coordinating.done())
        )

    def out_of_touch(self) -> bool:
        """Whether a member does not know who coordinates its group."""
        coordinator = self._consumer._coordinator
        return self._membership is not None and coordinator.coordinator_id is None

    async def end(self, *, leave: bool) -> None:
        """Stop, and leave the group where asked to. Never hangs."""
        consumer = self._consumer
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        if leave and coordinator is not None and self._membership is not None:
            coordinator._group_instance_id = None  # else the library leaves it to the session to end
        if await ended(consumer.stop(), self._timing.stop):
            return
        tasks = [
            *(fetcher._pending_tasks if fetcher is not None else ()),
            getattr(fetcher, "_fetch_task", None),
            getattr(coordinator, "_coordination_task", None),
            getattr(coordinator, "_heartbeat_task", None),
            getattr(coordinator, "_commit_refresh_task", None),
        ]
        for task in tasks:
            if task is not None:
                task.cancel()
        if leave and coordinator is not None and self._membership is not None:
            await ended(coordinator._maybe_leave_group(), self._timing.stop)
        await ended(consumer._client.close(), self._timing.stop)

    def _place(self, place: TopicPartition) -> Any:
        return Place(f"{self._prefix}{place.topic}", place.partition)

    async def _know(self, names: Iterable[str]) -> None:
        try:
            async with asyncio.timeout(self._timing.ask):
                await self._consumer._client.set_topics(set(names))
        except TimeoutError as error:
            raise told(error, "asking for topics") from error

    async def _replaced(self, coordinator: Any) -> bool:
        """Whether another life of this member is in the group."""
        try:
            answer = await coordinator._send_req(DescribeGroupsRequest([coordinator.group_id]))
        except KafkaError:
            return False
        name = coordinator._group_instance_id
        ids = [member[0] for group in answer.groups for member in group[5]]
        return any(one[:-SUFFIX] == name and len(one) > SUFFIX for one in ids)
