"""Poison on every topic of a running deployment: set aside, answered where it names an owner, and nothing
stalls, ends or is billed for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from services.control.seed import ORGANISATION
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.ports import Record, RecordTooLarge, Start, TopicPartition
from shared.contracts.freehold.edge.v1.events_pb2 import RequestAccepted, RequestClosed, ReserveBudget
from shared.contracts.freehold.platform.v1.outcome_pb2 import TERMINAL_STATE_COMPLETED, RequestFailed
from tests.e2e.customers import Customers
from tests.e2e.deployment import Deployment
from tests.e2e.running import until
from tests.e2e.strangers import (
    LANE,
    LETTERS,
    OWNER,
    TYPES,
    a_bus,
    all_of,
    gather,
    ids,
    partition_of,
    places_of,
    poison_of,
)
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.timeout(400)  # the first test waits for seven processes to start

RECORDS = {"usage": "billing", "closed": "billing", "facts": "audit"}
"""Who parks a record of a record topic."""


@pytest.fixture
def calm(deployment: Deployment) -> Iterator[Deployment]:
    """The same deployment, of which nobody ends and whose books stay right."""
    before = {name: replica.process.pid for name, replica in deployment.replicas.items()}
    yield deployment
    assert {name: one.process.pid for name, one in deployment.replicas.items()} == before
    deployment.wait_ready()
    assert deployment.ask().status_code == httpx.codes.OK
    assert "ok" in deployment.command("ledger", "verify").stdout
    for replica in deployment.replicas.values():
        told, _, traceback = replica.output.partition("Traceback")
        assert not traceback, told[-500:] + traceback[:2000]


async def test_poison_of_a_passing_topic_is_set_aside_and_its_owner_answered(calm: Deployment) -> None:
    async with a_bus(calm) as bus:
        places = await places_of(bus, calm)
        dead, mine = await all_of(bus, "dlq"), await bus.assign([TopicPartition("replies", LANE)], Start.END)
        expected: Counter[tuple[str, bytes]] = Counter()
        (request,) = ids(1)
        with Customers([calm.base_url], calm.key) as customers:
            for topic, times in LETTERS.items():
                for value, headers in poison_of(topic, places, request):
                    await bus.publish(topic, value, headers, partition=partition_of(topic, places), key=b"k")
                    expected[topic, value] += times
            letters = await gather(dead, expected.total())
            told = await gather(mine, 7, "RequestFailed")
            customers.settled_down()
        assert found_in(letters) == expected
        assert all(dict(letter.headers)["reason"] for letter in letters)
        answers = [(parse_envelope(one.headers), RequestFailed.FromString(one.value)) for one in told]
        assert {envelope.to for envelope, _ in answers} == {OWNER}
        assert {envelope.request for envelope, _ in answers} == {request}
        assert Counter(failed.stage for _, failed in answers) == {
            "moderation": 1,
            "tokenizer": 2,
            "billing": 2,
            "inference": 2,
        }
        assert customers.counts.keys() <= {"completed", "cancelled"}
        print(
            f"{expected.total()} letters; {dict(customers.counts)}, the slowest in {customers.slowest:.2f} s"
        )


def found_in(letters: list[Record]) -> Counter[tuple[str, bytes]]:
    return Counter((dict(one.headers)["origin"].decode().partition("/")[0], one.value) for one in letters)


async def test_poison_among_records_is_parked_and_the_books_go_on(
    calm: Deployment, postgres: Postgres
) -> None:
    database = calm.environment["FREEHOLD_DATABASE_NAME"]

    async def parked(service: str) -> int:
        return int((await postgres.execute(f"SELECT COUNT(*) FROM {service}.parked", database))[0][0])  # noqa: S608

    async with a_bus(calm) as bus:
        places = await places_of(bus, calm)
        expected = {service: await parked(service) for service in ("billing", "audit")}
        with Customers([calm.base_url], calm.key) as customers:
            for topic, service in RECORDS.items():
                for value, headers in poison_of(topic, places, ids(1)[0]):
                    await bus.publish(topic, value, headers, key=ORGANISATION.encode())
                    expected[service] += 1
            async with asyncio.timeout(60):
                while {service: await parked(service) for service in expected} != expected:  # noqa: ASYNC110 - rows tell of no event
                    await asyncio.sleep(0.05)
            customers.settled_down()
        assert customers.counts.keys() <= {"completed", "cancelled"}


async def test_poison_in_the_configuration_leaves_the_last_good_value(calm: Deployment) -> None:
    def rejected(name: str) -> float:
        line = next(
            line
            for line in calm.replicas[name].metrics().splitlines()
            if "config_rejected" in line and line[0] != "#"
        )
        return float(line.split()[-1])

    readers = [name for name in calm.replicas if name != "control"]
    before = {name: rejected(name) for name in readers}
    async with a_bus(calm) as bus:
        for key in (f"organisation/{ORGANISATION}", "nonsense/x", "without"):
            await bus.publish("config", b"\xff\xff", (), key=key.encode(), partition=0)
        await bus.publish("pulses", b"\xff\xff", (), partition=0)
        for name in readers:
            until(lambda: rejected(name) == before[name] + 3, f"{name} to refuse three values")  # noqa: B023
    assert calm.ask().status_code == httpx.codes.OK


async def test_a_record_above_four_megabytes_is_refused_where_it_is_published(calm: Deployment) -> None:
    async with a_bus(calm) as bus:
        for topic in TYPES:
            with pytest.raises(RecordTooLarge):
                await bus.publish(topic, bytes(5 << 20), (), key=b"k", partition=0)


async def test_what_is_said_in_anothers_name_has_no_effect(calm: Deployment, postgres: Postgres) -> None:
    request = calm.ask().headers["x-request-id"]

    async def entries() -> list[asyncpg.Record]:
        asked = f"SELECT * FROM billing.entries WHERE request = '{request}'"  # noqa: S608
        return await postgres.execute(asked, calm.environment["FREEHOLD_DATABASE_NAME"])

    async with asyncio.timeout(60):
        while not (before := await entries()):  # noqa: ASYNC110 - rows tell of no event
            await asyncio.sleep(0.05)
    async with a_bus(calm) as bus:
        mine = await bus.assign([TopicPartition("replies", LANE)], Start.END)

        async def say(topic: str, message: object, **changes: object) -> None:
            envelope = Envelope(
                type=type(message).__name__,
                event_id="forged",
                sender=1,
                request=request,
                tenant="somebody",
                owner=OWNER,
                lane=LANE,
            )
            for name, value in changes.items():
                setattr(envelope, name, value)
            await bus.publish(topic, message.SerializeToString(), envelope.headers(), key=b"somebody")  # type: ignore[attr-defined]

        await say("reserves", ReserveBudget(project="p", key="k", model="m", prompt_bound=1, max_output=1))
        (told,) = await gather(mine, 1, "RequestFailed")
        assert RequestFailed.FromString(told.value).code == "failed", "nobody learns another's price"
        await say("closed", RequestClosed(state=TERMINAL_STATE_COMPLETED))
        await say("closed", RequestClosed(state=TERMINAL_STATE_COMPLETED), tenant=ORGANISATION)
        await say("requests", RequestAccepted(), tenant=ORGANISATION, type="Nonsense")
        await gather(mine, 1, "RequestFailed")
    assert (await entries()) == before
    assert len(before) == 1
