"""The declared topics on a real broker: made once, compared always, never changed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.bus.kafka_admin import Admin, NewTopic
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_topics import TopicsRefused, apply, check, configuration
from shared.bus.ports import BusError, BusRefused
from shared.bus.topics import Topics, load_topics
from shared.clock import SystemClock
from tests.servers.kafka import Kafka, java

ROOT = Path(__file__).resolve().parents[2]
TOPICS = load_topics("compose")
CLOCK = SystemClock()


@pytest.fixture
def settings(kafka: Kafka) -> KafkaSettings:
    """A part of the broker that no other test uses."""
    return kafka.settings(prefix=f"{uuid.uuid4().hex}.")


@dataclass(frozen=True)
class Made:
    """What Kafka's own tool says of a topic."""

    partitions: int
    copies: int
    configuration: dict[str, str]


def described(settings: KafkaSettings) -> dict[str, Made]:
    """By name without prefix, as Kafka's own tool tells it."""
    done = java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", settings.bootstrap, "--describe")
    line = r"^Topic: (\S+)\s.*PartitionCount: (\d+)\s+ReplicationFactor: (\d+)\s+Configs: (\S+)"
    return {
        name.removeprefix(settings.prefix): Made(
            int(partitions), int(copies), dict(pair.split("=") for pair in pairs.split(","))
        )
        for name, partitions, copies, pairs in re.findall(line, done.stdout, re.MULTILINE)
        if name.startswith(settings.prefix)
    }


async def make_by_hand(settings: KafkaSettings, name: str, partitions: int, **changes: str) -> None:
    """A topic that is as declared but for its partitions and what is given."""
    admin = await Admin.open(settings)
    given = {
        **configuration(TOPICS[name], settings),
        **{key.replace("_", "."): changes[key] for key in changes},
    }
    await admin.create([NewTopic(f"{settings.prefix}{name}", partitions, 1, given)])
    admin.close()


def command(*words: str, settings: KafkaSettings) -> subprocess.Popen[str]:
    """`freehold topics` with these settings."""
    given = {"FREEHOLD_KAFKA_BOOTSTRAP": settings.bootstrap, "FREEHOLD_KAFKA_PREFIX": settings.prefix}
    return subprocess.Popen(
        [sys.executable, "-m", "services.cli", "topics", *words],
        cwd=ROOT,
        env={**os.environ, **given, "FREEHOLD_KAFKA_REPLICATION": str(settings.replication)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_every_topic_is_made_as_declared_and_nothing_twice(settings: KafkaSettings) -> None:
    made = await apply(TOPICS, settings, CLOCK)
    assert made == [f"{settings.prefix}{name}" for name in TOPICS]
    there = described(settings)
    assert {name: one.partitions for name, one in there.items()} == {
        name: topic.partitions for name, topic in TOPICS.items()
    }
    for name, topic in TOPICS.items():
        stated = there[name].configuration
        assert stated["message.timestamp.type"] == "LogAppendTime"
        assert int(stated["max.message.bytes"]) >= topic.max_bytes
        assert stated["min.insync.replicas"] == "1"
        if topic.retention_s is None:
            assert stated["cleanup.policy"] == "compact"
        else:
            assert stated["cleanup.policy"] == "delete"
            assert int(stated["retention.ms"]) == topic.retention_s * 1000
        if topic.kind == "transit":
            assert stated["segment.ms"] == "300000", "prompts go within minutes of their time"
    assert await apply(TOPICS, settings, CLOCK) == []
    await check(TOPICS, settings)


async def test_three_copies_are_acknowledged_by_two(kafka_cluster: Kafka) -> None:
    settings = kafka_cluster.settings(prefix=f"{uuid.uuid4().hex}.")
    await apply(TOPICS, settings, CLOCK)
    there = described(settings)
    assert {one.copies for one in there.values()} == {3}
    assert {one.configuration["min.insync.replicas"] for one in there.values()} == {"2"}
    await check(TOPICS, settings)


async def test_a_check_names_what_is_missing_and_makes_nothing(settings: KafkaSettings) -> None:
    some: Topics = {name: TOPICS[name] for name in ("facts", "config")}
    await apply(some, settings, CLOCK)
    with pytest.raises(TopicsRefused) as refused:
        await check(TOPICS, settings)
    missing = re.findall(r"(\S+) is missing", str(refused.value))
    assert missing == [f"{settings.prefix}{name}" for name in TOPICS if name not in some]
    assert set(described(settings)) == set(some)


async def test_every_difference_is_told_at_once_and_nothing_is_changed(settings: KafkaSettings) -> None:
    await make_by_hand(settings, "work", partitions=8)
    await make_by_hand(settings, "dlq", partitions=5)
    await make_by_hand(settings, "usage", partitions=12, retention_ms="1000", max_message_bytes="1000")
    await make_by_hand(settings, "facts", partitions=1)
    before = described(settings)
    for act in (apply, check):
        with pytest.raises(TopicsRefused) as refused:
            await act(TOPICS, settings)
        told = str(refused.value)
        assert f"{settings.prefix}work has 8 partitions, not 64; " in told
        assert f"--topic {settings.prefix}work --partitions 64" in told
        assert f"{settings.prefix}dlq has 5 partitions, not 4; they cannot be taken away" in told
        assert f"{settings.prefix}usage has retention.ms=1000, not 2592000000; " in told
        assert f"--entity-name {settings.prefix}usage --add-config retention.ms=2592000000" in told
        assert f"{settings.prefix}usage has max.message.bytes=1000" in told
        assert f"{settings.prefix}facts" not in told
    assert described(settings) == before


async def test_another_number_of_copies_is_a_difference(settings: KafkaSettings) -> None:
    await apply(TOPICS, settings, CLOCK)
    with pytest.raises(TopicsRefused, match=r"usage has a replication of 1, not 3; .*REPLICATION=1"):
        await check(TOPICS, settings.model_copy(update={"replication": 3}))


async def test_racing_twins_all_succeed(settings: KafkaSettings) -> None:
    made = await asyncio.gather(*(apply(TOPICS, settings, CLOCK) for _ in range(4)))
    assert {name for names in made for name in names} == {f"{settings.prefix}{name}" for name in TOPICS}
    await check(TOPICS, settings)


async def test_more_copies_than_brokers_may_still_come(settings: KafkaSettings) -> None:
    with pytest.raises(BusError, match=r"requests cannot be made: .* only 1 broker") as error:
        await apply(TOPICS, settings.model_copy(update={"replication": 3}), CLOCK)
    assert not isinstance(error.value, BusRefused)


def test_the_command_makes_checks_and_ends_with_a_word(settings: KafkaSettings) -> None:
    checked = command("check", settings=settings)
    assert "requests is missing; `freehold topics apply` makes it" in checked.communicate()[1]
    assert checked.returncode == 1
    made = command("apply", settings=settings).communicate()[0].splitlines()
    assert made == [*(f"{settings.prefix}{name}: made" for name in TOPICS), "12 topics are as declared"]
    assert command("apply", settings=settings).communicate() == ("12 topics are as declared\n", "")
    assert command("check", settings=settings).communicate() == ("12 topics are as declared\n", "")


def test_a_broker_that_starts_late_is_waited_for(kafka: Kafka, settings: KafkaSettings) -> None:
    kafka.stop()
    try:
        waiting = command("apply", "--wait", "100", settings=settings)
        assert waiting.stderr is not None
        first = waiting.stderr.readline()
        assert first.startswith(f"waiting 100 s for Kafka at {kafka.bootstrap}: connecting to ")
    finally:
        kafka.start()
    out, err = waiting.communicate(timeout=100)
    assert out.endswith("12 topics are as declared\n")
    assert err == "", "said once"


def test_no_broker_is_one_line(settings: KafkaSettings) -> None:
    nowhere = settings.model_copy(update={"bootstrap": "127.0.0.1:1"})
    ended = command("apply", "--wait", "0", settings=nowhere)
    out, err = ended.communicate(timeout=30)
    assert (ended.returncode, out) == (1, "")
    assert err.startswith("freehold: Kafka at 127.0.0.1:1: connecting to 127.0.0.1:1: ")
    assert err.count("\n") == 1


def test_other_commands_do_not_load_the_client_library() -> None:
    told = "import sys, services.cli.main; print('aiokafka' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
