"""Two replicas of what stands on a request's path; one dies, hangs or is stopped, or the broker or the
database goes, under a light load: nothing is lost, nothing is billed twice, and the others go on.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator

import asyncpg
import pytest

from shared.contracts.freehold.control.v1.control_pb2 import NUMBER_KIND_LANE, NUMBER_KIND_SEAT
from tests.e2e.customers import Customers
from tests.e2e.deployment import SERVICES, Deployment, Replica
from tests.e2e.running import until
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.timeout(600)

FIRST = ("inference", "moderation")
"""Killed at each run of the tests, the others at the long ones."""
TWICE = ("tokenizer", "moderation", "billing", "inference", "edge")
LONG = pytest.mark.long
PACE = {"FREEHOLD_INFERENCE_TOKENS_PER_SECOND": "200", "FREEHOLD_STOP_GRACE_S": "4"}


class World:
    """A deployment on servers of its own, and what its books say."""

    def __init__(self, deployment: Deployment, kafka: Kafka, postgres: Postgres) -> None:
        self.deployment, self.kafka, self.postgres = deployment, kafka, postgres

    @property
    def urls(self) -> list[str]:
        """Of both edges."""
        edges = [one for one in self.deployment.replicas.values() if one.service == "edge"]
        return [f"http://127.0.0.1:{edge.environment['FREEHOLD_HTTP_PORT']}/v1" for edge in edges]

    def customers(self) -> Customers:
        return Customers(self.urls, self.deployment.key)

    def rows(self, statement: str) -> list[asyncpg.Record]:
        name = self.deployment.environment["FREEHOLD_DATABASE_NAME"]
        return asyncio.run(self.postgres.execute(statement, name))

    def count(self, statement: str) -> int:
        return int(self.rows(statement)[0][0])

    def check(self, customers: Customers) -> None:
        """Raises `AssertionError` where something was lost, or billed twice, or the books are wrong."""
        counts = customers.counts
        assert customers.sent == counts.total(), counts
        assert counts["completed"] > 0
        for request, tokens in customers.completed.items():
            entry = f"SELECT billed FROM billing.entries WHERE request = '{request}'"  # noqa: S608
            until(lambda: len(self.rows(entry)) > 0, f"the settlement of {request}", 60.0)  # noqa: B023
            assert [row[0] for row in self.rows(entry)] == [tokens], request
        twice = "SELECT request, kind FROM billing.entries GROUP BY request, kind HAVING COUNT(*) > 1"
        assert self.rows(twice) == []
        gaps = (
            "SELECT organisation FROM billing.facts GROUP BY organisation"
            " HAVING COUNT(*) <> MAX(seq) OR MIN(seq) <> 1"
        )
        assert self.rows(gaps) == []
        assert "ok" in self.deployment.command("ledger", "verify").stdout
        missing = (
            "SELECT COUNT(*) FROM billing.facts f LEFT JOIN audit.leaves l"
            " ON l.stream = 'billing/' || f.organisation AND l.seq = f.seq AND l.request = f.request"
            " WHERE l.number IS NULL"
        )
        until(lambda: self.count(missing) == 0, "the log to hold every fact", 120.0)
        for replica in self.deployment.replicas.values():
            faults = [line for line in replica.output.splitlines() if "Traceback" in line]
            assert not faults, faults
        print(dict(counts), end="; ")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kafka, postgres = Kafka(tmp_path_factory.mktemp("kafka")), Postgres()
    deployment: Deployment | None = None
    try:
        kafka.start()
        postgres.start()
        deployment = Deployment(
            tmp_path_factory.mktemp("deployment"), kafka.settings(prefix="days."), postgres.settings(), **PACE
        )
        deployment.prepare()
        for service in SERVICES:
            deployment.add(service)
        for service in TWICE:
            deployment.add(service, f"{service}-2")
        deployment.wait_ready()
        deployment.welcome()
        yield World(deployment, kafka, postgres)
    finally:
        if deployment is not None:
            deployment.kill()
        kafka.remove()
        postgres.remove()


def handled(replica: Replica) -> int:
    """Records that its consumers have finished."""
    found = re.findall(r'freehold_bus_records_total\{[^}]*outcome="handled"[^}]*\} (\S+)', replica.metrics())
    return round(sum(map(float, found)))


def test_two_replicas_have_numbers_of_their_own_and_share_the_work(world: World) -> None:
    replicas = world.deployment.replicas
    before = {name: handled(one) for name, one in replicas.items()}
    with world.customers() as customers:
        customers.served_again()
        customers.settled_down(60)
    numbers = world.rows("SELECT kind, number, incarnation FROM control.numbers")
    for kind, each in ((NUMBER_KIND_LANE, 4), (NUMBER_KIND_SEAT, 1)):
        holders: dict[str, list[int]] = {}
        for row in numbers:
            if row[0] == kind:
                holders.setdefault(row[2], []).append(row[1])
        assert sorted(map(len, holders.values())) == [each, each]
    for service in ("tokenizer", "moderation", "inference"):
        for name in (service, f"{service}-2"):
            assert handled(replicas[name]) > before[name], name
    assert handled(replicas["billing"]) + handled(replicas["billing-2"]) > 0
    world.check(customers)


KILLED = [
    "inference",
    "moderation",
    *(pytest.param(name, marks=LONG) for name in SERVICES if name not in FIRST),
]


@pytest.mark.parametrize("service", KILLED)
def test_a_replica_is_killed_and_comes_again(world: World, service: str) -> None:
    replica = world.deployment.replicas[service]
    others = world.urls[1:] if service == "edge" else world.urls
    with world.customers() as customers:
        customers.served_again()
        replica.kill()
        seconds = customers.served_again(urls=others)
        customers_left = customers.counts["cut"]
        replica.again()
        world.deployment.wait_ready()
        customers.served_again()
        customers.settled_down()
    assert service == "edge" or customers.counts["cut"] == 0
    print(f"{service}: others served after {seconds:.1f} s, {customers_left} cut; ", end="")
    world.check(customers)


@LONG
@pytest.mark.parametrize("service", SERVICES)
def test_a_replica_is_stopped_and_comes_again(world: World, service: str) -> None:
    replica = world.deployment.replicas[service]
    with world.customers() as customers:
        customers.served_again()
        assert replica.stop() == 0
        replica.again()
        world.deployment.wait_ready()
        customers.served_again()
        customers.settled_down()
    assert customers.counts["cut"] == 0
    world.check(customers)


@LONG
@pytest.mark.parametrize("service", ["inference", "moderation", "billing", "tokenizer"])
def test_a_replica_hangs_and_goes_on(world: World, service: str) -> None:
    replica = world.deployment.replicas[service]
    with world.customers() as customers:
        customers.served_again()
        os.kill(replica.process.pid, signal.SIGSTOP)
        try:
            customers.settled_down(seconds=120.0)
        finally:
            os.kill(replica.process.pid, signal.SIGCONT)
        world.deployment.wait_ready()
        customers.settled_down()
    assert customers.counts["cut"] == 0
    world.check(customers)


def test_the_broker_restarts(world: World) -> None:
    with world.customers() as customers:
        customers.served_again()
        world.kafka.restart()
        seconds = customers.served_again()
        world.deployment.wait_ready()
        customers.settled_down()
    assert customers.counts["cut"] == 0
    print(f"served {seconds:.1f} s after the broker was back; ", end="")
    world.check(customers)


@LONG
def test_the_database_restarts(world: World) -> None:
    with world.customers() as customers:
        customers.served_again()
        world.postgres.restart()
        seconds = customers.served_again()
        world.deployment.wait_ready()
        customers.settled_down()
    assert customers.counts["cut"] == 0
    print(f"served {seconds:.1f} s after the database was back; ", end="")
    world.check(customers)
