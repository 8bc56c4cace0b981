"""How a process comes to its bus: it waits for what may come, and refuses what a person must mend."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_topics import apply
from shared.bus.ports import BusRefused, Start
from shared.bus.topics import Topics, load_topics
from shared.host import system_host
from tests.integration.kafka_world import HASTY, TOPICS, USAGE, collect, faults
from tests.servers.kafka import Kafka

WIDER: Topics = {name: load_topics("compose")[name] for name in TOPICS}


def bus_of(settings: KafkaSettings, topics: Topics = TOPICS) -> KafkaBus:
    return KafkaBus(system_host(), topics, settings, "test", HASTY)


async def test_a_broker_that_is_absent_is_waited_for_and_said_once(
    own_kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    async with faults(own_kafka) as world:
        caplog.set_level(logging.INFO, "shared.bus.kafka_bus")
        bus = world.unstarted()
        await world.kill()
        try:
            starting = asyncio.ensure_future(bus.start())
            await asyncio.wait((starting,), timeout=2)
            assert not starting.done()
            assert "not started" in bus.readiness().reason
        finally:
            await world.start()
        await asyncio.wait_for(starting, 30)
        assert bus.readiness().ready
        said = [record.getMessage() for record in caplog.records if "waiting for" in record.getMessage()]
        assert len(said) == 1
        assert own_kafka.bootstrap in said[0]
        await bus.publish("usage", b"1", partition=0)
        await collect(await bus.assign(USAGE, Start.BEGINNING), [b"1"])


async def test_waiting_for_a_broker_can_be_cancelled() -> None:
    starting = asyncio.ensure_future(bus_of(KafkaSettings(bootstrap="127.0.0.1:1")).start())
    await asyncio.wait((starting,), timeout=0.3)
    starting.cancel()
    async with asyncio.timeout(5):
        assert isinstance((await asyncio.gather(starting, return_exceptions=True))[0], asyncio.CancelledError)


async def test_missing_topics_are_refused_in_one_line_with_all_names(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.bus.kafka_bus.MISSING_S", 0.0)
    with pytest.raises(BusRefused, match=r"no topic requests, usage$"):
        await bus_of(own_kafka.settings(prefix="nothing-here.")).start()


async def test_too_few_partitions_are_refused_in_one_line_with_all_names(own_kafka: Kafka) -> None:
    settings = own_kafka.settings(prefix="narrow.")
    await apply(TOPICS, settings)
    few = r"requests has 4 partitions, not 12; usage has 4 partitions, not 12$"
    with pytest.raises(BusRefused, match=few):
        await bus_of(settings, WIDER).start()


async def test_more_partitions_than_declared_are_left_alone(own_kafka: Kafka) -> None:
    settings = own_kafka.settings(prefix="wide.")
    await apply(WIDER, settings)
    bus = bus_of(settings)
    await bus.start()
    positions = [await bus.publish("usage", b"", key=b"%d" % number) for number in range(40)]
    assert {position.partition for position in positions} == {0, 1, 2, 3}
    await bus.close()


def test_a_certificate_that_is_not_there_is_refused() -> None:
    with pytest.raises(BusRefused, match=r"nowhere\.pem"):
        bus_of(KafkaSettings(security="SSL", ca=Path("/nowhere.pem")))
