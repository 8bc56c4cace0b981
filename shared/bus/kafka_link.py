"""The connection by which a process asks the brokers: which topics there are, where partitions begin
and end. Fetches wait on connections of their own, so that no question waits behind one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from shared.bus.kafka import (
    AIOKafkaClient,
    KafkaError,
    OffsetRequest,
    Place,
    TopicAuthorizationFailedError,
    create_conn,
    error_of,
    told,
)
from shared.bus.kafka_ending import ended
from shared.bus.kafka_pace import pace
from shared.bus.kafka_timing import Timing
from shared.bus.ports import BusError, BusRefused, TopicPartition
from shared.clock import Clock

BEGINNING, END = -2, -1
PAUSE_S = 0.1
STALE = 5
"""Failures after which the names to begin with are asked again."""

# The library tells of each failed attempt at its own pace, several times a second while a broker is
# away. What matters of it comes to us as an error and is told once, by us.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Link:
    """Opened before anything else; opens itself anew after a question that failed."""

    def __init__(self, given: Mapping[str, Any], timing: Timing, clock: Clock, prefix: str) -> None:
        self._given = given
        self._timing = timing
        self._clock = clock
        self._prefix = prefix
        self._client: Any = None
        self._topics: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> None:
        """Raises `BusRefused` where credentials or TLS are wrong, `BusError` where nobody answers."""
        async with self._one_at_a_time:
            await self._reopen()

    async def partitions(self, names: Iterable[str]) -> Mapping[str, int | None]:
        """How many partitions each topic has: 0 where it is missing, None where we may not know."""
        wire = {f"{self._prefix}{name}": name for name in names}
        async with self._one_at_a_time:
            client = await self._opened()
            self._topics |= wire.keys()
            try:
                async with asyncio.timeout(self._timing.ask):
                    client.set_topics(self._topics)
                    await client.force_metadata_update()
            except TimeoutError as error:
                raise told(error, "asking for topics") from error
            hidden = client.cluster.unauthorized_topics
            return {
                name: None if full in hidden else len(client.cluster.partitions_for_topic(full) or ())
                for full, name in wire.items()
            }

    async def offsets(self, places: Iterable[TopicPartition], at: int) -> dict[TopicPartition, int]:
        """Of each partition where it begins or where its next record will be. Raises `BusError`."""
        wanted = {Place(f"{self._prefix}{place.topic}", place.partition): place for place in places}
        if not wanted:
            return {}
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(self._timing.ask):
                    found = await self._insist(wanted, at)
            except TimeoutError as error:
                await self._close()
                raise told(error, "asking for offsets") from error
        return {place: found[full] for full, place in wanted.items()}

    async def close(self) -> None:
        """Idempotent; never hangs."""
        await self._close()

    async def _insist(self, wanted: Iterable[Any], at: int) -> dict[Any, int]:
        for failures in count(1):
            client = await self._opened()
            try:
                return await self._ask(client, wanted, at)
            except KafkaError as error:
                if not getattr(error, "retriable", False):
                    raise told(error, "asking for offsets") from error
                client.force_metadata_update()
            if failures % STALE == 0:  # what it knows of the brokers may be of no use any more
                await self._close()
            await self._clock.sleep(PAUSE_S)
        raise AssertionError

    async def _ask(self, client: Any, wanted: Iterable[Any], at: int) -> dict[Any, int]:
        missing = {full.topic for full in wanted} - self._topics
        if missing:
            self._topics |= missing
            await client.set_topics(self._topics)
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for full in wanted:
            if full.topic in client.cluster.unauthorized_topics:
                raise TopicAuthorizationFailedError(full.topic)
            leader = client.cluster.leader_for_partition(full)
            if leader is None or leader < 0:
                raise error_of(5)(f"{full.topic}/{full.partition} has no leader")
            by_node[leader][full.topic].append((full.partition, at))
        found: dict[Any, int] = {}
        for node, topics in by_node.items():
            response = await client.send(node, OffsetRequest(-1, 0, list(topics.items())))
            for topic, answers in response.topics:
                for number, code, _, offset in answers:
                    if code:
                        raise error_of(code)(f"{topic}/{number}")
                    found[Place(topic, number)] = offset
        return found

    async def _opened(self) -> Any:
        if self._client is None:
            await self._reopen()
        return self._client

    async def _reopen(self) -> None:
        await self._close()
        client = AIOKafkaClient(
            **self._given, request_timeout_ms=int(self._timing.request * 1000), metadata_max_age_ms=60_000
        )
        pace(client, self._clock)
        try:
            await client.bootstrap()
        except KafkaError as error:
            await ended(client.close(), self._timing.stop)
            raise await self._reason(client) or told(error, "connecting") from error
        except BaseException:
            await ended(client.close(), self._timing.stop)
            raise
        self._client = client
        if self._topics:
            await client.set_topics(self._topics)

    async def _reason(self, client: Any) -> BusError | None:
        """What the first broker says to us, for the library keeps it to itself."""
        given = {name: value for name, value in self._given.items() if name != "bootstrap_servers"}
        failure: BusError | None = None
        for host, port, _ in client.hosts:
            try:
                connection = await create_conn(host, port, request_timeout_ms=3000, **given)
            except (OSError, KafkaError, TimeoutError) as error:
                failure = told(error, f"connecting to {host}:{port}")
                if isinstance(failure, BusRefused):
                    return failure
            else:
                connection.close()
        return failure

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await ended(client.close(), self._timing.stop)
