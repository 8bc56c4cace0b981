"""What each service may do on a broker that checks it: all that `topics.yaml` says, and no more."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from shared.bus.kafka import options
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_rights import commands
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_topics import apply
from shared.bus.ports import BusError, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.servers.guarded import ADMIN, GuardedKafka
from tests.servers.kafka import java

TOPICS = load_topics("compose")
GROUPS = sorted({group for topic in TOPICS.values() for group in topic.groups})
SERVICES = sorted({writer for topic in TOPICS.values() for writer in topic.writers})
STRANGER = "stranger"
PREFIX = "house."
ACLS = "org.apache.kafka.tools.AclCommand"
TOPIC_FORBIDDEN, GROUP_FORBIDDEN, CLUSTER_FORBIDDEN = 29, 30, 31
MEMBER_ID_NEXT = 79
"""A join goes on from here."""
STARTING = (6, 14, 15, 16)
"""A broker that has just made a topic, or what it keeps its groups in, takes a moment to lead it."""

pytestmark = pytest.mark.timeout(300)
"""Kafka's tool runs once for each line of rights."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    """The broker with all topics, and with the rights that `freehold topics acls` prints."""
    broker = GuardedKafka(tmp_path_factory.mktemp("guarded"), [*SERVICES, STRANGER])
    try:
        broker.start()
        lines = commands(TOPICS, f"kafka-acls.sh --bootstrap-server {broker.inside}", PREFIX)
        with ThreadPoolExecutor(2) as pool:
            for done in pool.map(lambda line: java(ACLS, *shlex.split(line)[1:]), lines):
                assert done.returncode == 0, done.stdout + done.stderr
        yield broker
    finally:
        broker.remove()


def of(broker: GuardedKafka, user: str, **changes: object) -> KafkaSettings:
    return broker.of(user, prefix=PREFIX, **changes)


@pytest.fixture
async def made(guarded: GuardedKafka) -> GuardedKafka:
    """With the topics, made over TLS by the administrator."""
    await apply(TOPICS, of(guarded, ADMIN))
    return guarded


class Asking:
    """One user's connection, on which nothing hides what the broker answers."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def writes(self, topic: str) -> bool:
        batch = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=1024,
        )
        batch.append(0, 0, b"key", b"value", [])
        wire = [(f"{PREFIX}{topic}", [(0, bytes(batch.build()))])]
        return await self._allowed(
            ProduceRequest(None, -1, 5000, wire), lambda answer: answer.topics[0][1][0][1], TOPIC_FORBIDDEN
        )

    async def reads(self, topic: str) -> bool:
        wire = [(f"{PREFIX}{topic}", [(0, 0, 1 << 20)])]
        return await self._allowed(
            FetchRequest(0, 0, 1 << 20, 0, wire), lambda answer: answer.topics[0][1][0][1], TOPIC_FORBIDDEN
        )

    async def joins(self, group: str) -> bool:
        full, nothing = f"{PREFIX}{group}", [("roundrobin", bytes(10))]
        find = FindCoordinatorRequest(full, 0)
        join = JoinGroupRequest(full, 6000, 6000, "", None, "consumer", nothing)
        return await self._allowed(find, lambda answer: answer.error_code, GROUP_FORBIDDEN) and (
            await self._allowed(join, lambda answer: answer.error_code, GROUP_FORBIDDEN)
        )

    async def is_numbered(self) -> bool:
        """Whether it may write with idempotence."""
        asked = InitProducerIdRequest(None, 5000)
        return await self._allowed(asked, lambda answer: answer.error_code, CLUSTER_FORBIDDEN)

    async def _allowed(self, asked: Any, code_of: Callable[[Any], int], forbidden: int) -> bool:
        async with asyncio.timeout(30.0):
            while (code := code_of(await self._connection.send(asked))) in STARTING:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the broker has no event to wait for
        assert code in (0, MEMBER_ID_NEXT, forbidden), code
        return code != forbidden


@pytest.fixture
async def asking(made: GuardedKafka, request: pytest.FixtureRequest) -> AsyncIterator[Asking]:
    given = options(of(made, request.param), "test")
    ((host, port, _),) = collect_hosts(given.pop("bootstrap_servers"))
    connection = await create_conn(host, port, **given)
    yield Asking(connection)
    connection.close()


@pytest.mark.attack(46)
@pytest.mark.parametrize(("asking", "service"), [(name, name) for name in SERVICES], indirect=["asking"])
async def test_a_service_may_do_what_the_topics_say_and_no_more(asking: Asking, service: str) -> None:
    def belongs(group: str) -> bool:
        return group.partition(".")[0] == service

    assert {name for name in TOPICS if await asking.writes(name)} == {
        name for name, topic in TOPICS.items() if service in topic.writers
    }
    assert {name for name in TOPICS if await asking.reads(name)} == {
        name for name, topic in TOPICS.items() if service in topic.assigned or any(map(belongs, topic.groups))
    }
    assert {group for group in GROUPS if await asking.joins(group)} == set(filter(belongs, GROUPS))
    assert await asking.is_numbered()


@pytest.mark.attack(46)
@pytest.mark.parametrize("asking", [STRANGER], indirect=True)
async def test_a_user_without_rights_may_do_nothing(asking: Asking) -> None:
    assert not [name for name in TOPICS if await asking.writes(name) or await asking.reads(name)]
    assert not [group for group in GROUPS if await asking.joins(group)]
    assert not await asking.is_numbered()


def test_what_holds_the_platform_together_is_written_by_few() -> None:
    """Stated by hand: these sentences of the protocol are what the rights are for."""
    assert TOPICS["completions"].writers == ("moderation",)
    assert set(TOPICS["facts"].writers) == {"billing", "control"}
    assert TOPICS["usage"].writers == ("inference",)
    assert TOPICS["config"].writers == ("control",)
    assert TOPICS["frames"].writers == ("inference",), "and nobody reads it but moderation:"
    assert (TOPICS["frames"].groups, TOPICS["frames"].assigned) == (("moderation.output",), {})


async def _nothing(_: object) -> None:
    """Of partitions that come or go."""


@pytest.mark.parametrize("service", SERVICES)
async def test_the_bus_of_a_service_works_with_its_rights(made: GuardedKafka, service: str) -> None:
    bus = KafkaBus(system_host(), TOPICS, of(made, service), service)
    await bus.start()
    try:
        for topic in TOPICS.values():
            if service in topic.writers:
                assert (await bus.publish(topic.name, b"value", key=b"key", partition=0)).topic == topic.name
            if service in topic.assigned:
                reader = await bus.assign([TopicPartition(topic.name, 0)], Start.BEGINNING)
                assert service not in topic.writers or await reader.poll(10, 10.0)
                await reader.close()
        for group in (group for group in GROUPS if group.partition(".")[0] == service):
            topics = [topic.name for topic in TOPICS.values() if group in topic.groups]
            reader = await bus.group(topics, group, "only", _nothing, _nothing)
            assert {place.topic for place in reader.positions()} == set(topics)
            await reader.commit(dict.fromkeys(reader.positions(), 0))
            await reader.close()
        assert bus.readiness().ready
    finally:
        await bus.close()


async def test_the_bus_tells_what_is_not_allowed(made: GuardedKafka) -> None:
    bus = KafkaBus(system_host(), TOPICS, of(made, "edge"), "edge")
    await bus.start()
    try:
        with pytest.raises(BusError, match="no right"):
            await bus.publish("completions", b"not vetted", partition=0)
        await bus.publish("requests", b"after that", key=b"key")
        with pytest.raises(BusError, match="no right"):
            await bus.assign([TopicPartition("frames", 0)], Start.BEGINNING)
        with pytest.raises(BusError, match="no right"):
            await bus.group(["requests"], "tokenizer", "thief", _nothing, _nothing)
    finally:
        await bus.close()
