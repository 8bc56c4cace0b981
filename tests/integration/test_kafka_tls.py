"""A broker that knows services by their certificates: who is let in, and what a forger can write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.conn import collect_hosts, create_conn

from shared.bus.kafka import options
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_rights import bindings, commands
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_topics import apply, grant
from shared.bus.ports import BusError
from shared.bus.topics import DEAD_LETTERS, load_topics
from shared.host import system_host
from tests.integration.test_kafka_rights import Asking
from tests.servers.guarded import CertifiedKafka
from tests.servers.identities import House

TOPICS = load_topics("compose")
SERVICES = sorted({writer for topic in TOPICS.values() for writer in topic.writers})
PREFIX = "house."
PATIENCE_S = 60.0
REFUSED_S = 10.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertifiedKafka]:
    """The broker with all topics and rights, made and given over TLS by the operator."""
    folder = tmp_path_factory.mktemp("certified")
    broker = CertifiedKafka(folder, House(folder / "house", hosts=["127.0.0.1"]))
    try:
        broker.start()
        asyncio.run(prepare(broker))
        yield broker
    finally:
        broker.remove()


async def prepare(broker: CertifiedKafka) -> None:
    """Return once the last right that was given is in force: the broker takes a moment after its answer."""
    settings = of(broker, "operator")
    await apply(TOPICS, settings)
    for _ in range(2):  # to give what is given is no error
        await grant(bindings(TOPICS, PREFIX), settings)
    async with asyncio.timeout(PATIENCE_S), connection(broker, SERVICES[-1]) as asking:
        while not await asking.writes(DEAD_LETTERS):  # noqa: ASYNC110 - the broker has no event to wait for
            await asyncio.sleep(0.1)


@asynccontextmanager
async def connection(broker: CertifiedKafka, name: str) -> AsyncIterator[Asking]:
    given = options(of(broker, name), "test")
    ((host, port, _),) = collect_hosts(given.pop("bootstrap_servers"))
    made = await create_conn(host, port, **given)
    try:
        yield Asking(made)
    finally:
        made.close()


def of(broker: CertifiedKafka, name: str, **changes: object) -> KafkaSettings:
    return broker.of(name, prefix=PREFIX, **changes)


@pytest.mark.parametrize("service", [*SERVICES, "kafka"])
async def test_a_certificate_gives_the_rights_of_its_service_and_no_more(
    certified: CertifiedKafka, service: str
) -> None:
    """A forger who has a service's key can write what that service writes, and nothing else anywhere."""
    async with connection(certified, service) as asking:
        written = {name for name in TOPICS if await asking.writes(name)}
    assert written == {name for name, topic in TOPICS.items() if service in topic.writers}


def test_what_is_given_is_what_is_printed() -> None:
    lines = commands(TOPICS, "kafka-acls.sh", PREFIX)
    for one in bindings(TOPICS, PREFIX):
        operation = {"read": "Read", "write": "Write", "idempotent_write": "IdempotentWrite"}[one.operation]
        what = "--cluster" if one.kind == "cluster" else f"--{one.kind} {one.name}"
        assert any(
            all(f" {part} " in f"{line} " for part in (one.principal, f"--operation {operation}", what))
            for line in lines
        )


@pytest.mark.parametrize(
    "fault", ["plain text", "no certificate", "another authority's", "a broker by another", "another host"]
)
async def test_whoever_has_no_good_certificate_is_not_let_in(
    certified: CertifiedKafka, tmp_path: Path, fault: str
) -> None:
    other = House(tmp_path, ["edge"]).files("edge")
    changes: dict[str, object] = {
        "plain text": {"security": "PLAINTEXT"},
        "no certificate": {"certificate": None},
        "another authority's": {"certificate": other.certificate},
        "a broker by another": {"ca": other.ca},
        "another host": {"bootstrap": certified.bootstrap.replace("127.0.0.1", "localhost")},
    }[fault]
    bus = KafkaBus(system_host(), TOPICS, of(certified, "edge", **changes), "edge")
    with pytest.raises((BusError, TimeoutError)):
        async with asyncio.timeout(REFUSED_S):
            await bus.start()
    await bus.close()


async def test_an_expired_certificate_is_refused_and_a_new_one_is_taken_without_a_restart(
    certified: CertifiedKafka,
) -> None:
    """The same bus: its files are looked at before each handshake."""
    certified.house.expire("tokenizer")
    bus = KafkaBus(system_host(), TOPICS, of(certified, "tokenizer"), "tokenizer")
    with pytest.raises((BusError, TimeoutError)):
        async with asyncio.timeout(REFUSED_S):
            await bus.start()
    certified.house.renew("tokenizer")
    try:
        async with asyncio.timeout(PATIENCE_S):
            await bus.start()
        assert (await bus.publish("replies", b"value", partition=0)).topic == "replies"
    finally:
        await bus.close()
