"""What a service's process stands on is absent, wrong or half made: it waits and says why, or ends with one
line that says what to mend.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.bus.kafka_topics import apply
from shared.bus.topics import load_topics
from tests.e2e.deployment import SERVICES, Deployment, Replica
from tests.e2e.running import ROOT, until
from tests.servers.kafka import Kafka
from tests.servers.postgres import PASSWORD, Postgres

pytestmark = pytest.mark.timeout(300)

USER, KAFKA_PASSWORD = "freehold", "canary-kafka-password-of-the-tests"
CANARY = "canary-that-is-wrong-and-is-told-nobody"
OWNERS = ("control", "billing", "audit")
"""Of state in PostgreSQL."""
SCRAM = {
    "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.clients.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class World:
    """A broker that asks who one is, a database server, and a deployment that has been prepared on them."""

    def __init__(self, folder: Path, kafka: Kafka, postgres: Postgres) -> None:
        self.kafka, self.postgres = kafka, postgres
        given = kafka.settings(prefix="starts.", username=USER, password=KAFKA_PASSWORD)
        self.database = postgres.settings()
        self.deployment = Deployment(
            folder,
            given,
            self.database,
            FREEHOLD_KAFKA_SECURITY=given.security,
            FREEHOLD_KAFKA_USERNAME=USER,
            FREEHOLD_KAFKA_PASSWORD=KAFKA_PASSWORD,
        )
        self.deployment.prepare()
        few = kafka.settings(prefix="few.", username=USER, password=KAFKA_PASSWORD)
        asyncio.run(apply(load_topics("embedded"), few))

    def secrets(self) -> list[str]:
        """What may stand in no output."""
        folder = self.deployment.folder / "secrets"
        found = [(folder / name).read_text().strip() for name in ("token", "pepper")]
        return [*found, KAFKA_PASSWORD, PASSWORD, CANARY]

    def refused(self, service: str, *said: str, **changes: str) -> None:
        """A start ends by itself with status 1 and one line for the operator, and gives no secret away."""
        names = self.deployment.environment
        given = {key: value for key, value in names.items() if f"{key.removesuffix('_FILE')}" not in changes}
        ports = {"FREEHOLD_RPC_PORT": "0", "FREEHOLD_OPS_PORT": "0", "FREEHOLD_INSTANCE": "refused"}
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", "serve", service],
            cwd=ROOT,
            env={**given, **ports, **changes},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        output = done.stdout
        assert done.returncode == 1, output
        lines = [line for line in output.splitlines() if line.startswith("freehold: ")]
        assert len(lines) == 1, output
        assert output.splitlines()[-1] == lines[0], output
        for words in said:
            assert words in lines[0]
        assert "Traceback" not in output
        assert "never retrieved" not in output
        assert not [secret for secret in self.secrets() if secret in output]
        assert time.monotonic() - begun < 60.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    users = [f"SCRAM-SHA-512=[name={USER},password={KAFKA_PASSWORD}]"]
    kafka = Kafka(tmp_path_factory.mktemp("kafka"), protocol="SASL_PLAINTEXT", users=users, extra=SCRAM)
    postgres = Postgres()
    made: World | None = None
    try:
        kafka.start()
        postgres.start()
        made = World(tmp_path_factory.mktemp("deployment"), kafka, postgres)
        yield made
    finally:
        if made is not None:
            made.deployment.kill()
        kafka.remove()
        postgres.remove()


async def health(replica: Replica) -> int | None:
    """What its gRPC health says of the whole process; None where nobody answers."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.rpc_port}") as channel:
        try:
            found = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=5.0
            )
        except grpc.aio.AioRpcError:
            return None
    return int(found.status)


def waits(replica: Replica, *said: str) -> bool:
    """Whether it is alive, not ready, and gives this reason, over HTTP and gRPC."""
    assert replica.process.poll() is None, replica.output
    live, ready = replica.ask("/livez"), replica.ask("/readyz")
    if live is None or ready is None:
        return False
    assert live.status_code == 200
    reason = ready.json()["reason"]
    return (
        ready.status_code == 503
        and all(words in reason for words in said)
        and asyncio.run(health(replica)) == NOT_SERVING
    )


def test_broker_and_database_that_come_late_are_waited_for(world: World) -> None:
    deployment, kafka, postgres = world.deployment, world.kafka, world.postgres
    kafka.stop()
    postgres.stop()
    replicas = [deployment.add(service) for service in SERVICES]
    for replica in replicas:
        until(lambda: waits(replica, "waiting for Kafka"), f"{replica.instance} to wait", 90.0)  # noqa: B023
    kafka.start()
    for replica in replicas:
        told = "waiting for PostgreSQL" if replica.service in OWNERS else ""
        until(lambda: waits(replica, told), f"{replica.instance} to wait on", 60.0)  # noqa: B023
    postgres.start()
    deployment.wait_ready()
    for replica in replicas:
        until(lambda: asyncio.run(health(replica)) == SERVING, f"{replica.instance} to serve")  # noqa: B023
        output = replica.output
        assert output.count("waiting for Kafka") == 1, output
        assert output.count("waits for PostgreSQL") == (replica.service in OWNERS), output
        assert "Traceback" not in output
        assert not [secret for secret in world.secrets() if secret in output]
    deployment.welcome()
    # Whoever knows the configuration and has its numbers goes on without control.
    deployment.replicas["control"].kill()
    for _ in range(3):
        assert deployment.ask().status_code == 200
    assert set(deployment.stop().values()) == {0}


@pytest.mark.parametrize("service", SERVICES)
def test_topics_that_are_missing_or_too_narrow_are_refused(world: World, service: str) -> None:
    if service in ("edge", "control"):
        world.refused(service, "no topic ", "requests", FREEHOLD_KAFKA_PREFIX="nothing.")
    else:
        world.refused(service, "requests has 4 partitions, not 12", FREEHOLD_KAFKA_PREFIX="few.")


def test_a_wrong_kafka_password_ends_the_start_without_a_storm(world: World) -> None:
    before = world.kafka.log().count("Failed authentication")
    world.refused("tokenizer", "the brokers refuse the credentials", FREEHOLD_KAFKA_PASSWORD=CANARY)
    assert 0 < world.kafka.log().count("Failed authentication") - before <= 4


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("password", {"FREEHOLD_DATABASE_PASSWORD": CANARY}),
        ("nowhere", {"FREEHOLD_DATABASE_NAME": "nowhere"}),
    ],
)
def test_a_database_that_refuses_ends_the_start(world: World, said: str, changes: dict[str, str]) -> None:
    before = world.postgres.log().count("FATAL")
    world.refused("billing", said, **changes)
    assert 0 < world.postgres.log().count("FATAL") - before <= 2


SECRETS = [
    ("FREEHOLD_TOKEN", ""),
    ("FREEHOLD_TOKEN", "canary-short"),
    ("FREEHOLD_PEPPER", ""),
    ("FREEHOLD_PEPPER", "canary-short"),
    ("FREEHOLD_PEPPER", f"1={CANARY} 1={CANARY}"),
]


@pytest.mark.parametrize(("setting", "value"), SECRETS)
def test_a_secret_that_is_missing_or_weak_is_refused(world: World, setting: str, value: str) -> None:
    world.refused("control", setting, "freehold secrets", **{setting: value})


WRONG = [
    ("edge", "FREEHOLD_RPC_PORT=many", {"FREEHOLD_RPC_PORT": "many"}),
    ("edge", "FREEHOLD_KAFKA_SECURITY=NONE", {"FREEHOLD_KAFKA_SECURITY": "NONE"}),
    ("billing", "FREEHOLD_DATABASE_PORT=0", {"FREEHOLD_DATABASE_PORT": "0"}),
    ("inference", "/nowhere/model.yaml", {"FREEHOLD_MANIFEST": "/nowhere/model.yaml"}),
    ("control", "/nowhere/policies", {"FREEHOLD_POLICIES": "/nowhere/policies"}),
    ("audit", "/nowhere/log.key", {"FREEHOLD_AUDIT_KEY_FILE": "/nowhere/log.key"}),
    ("tokenizer", "/nowhere/token", {"FREEHOLD_TOKEN_FILE": "/nowhere/token"}),
]


@pytest.mark.parametrize(("service", "said", "changes"), WRONG)
def test_a_setting_that_cannot_be_worked_with_is_named(
    world: World, service: str, said: str, changes: dict[str, str]
) -> None:
    world.refused(service, said, **changes)


def test_a_port_that_others_have_is_named(world: World) -> None:
    with_port = world.kafka.bootstrap.rpartition(":")[2]
    world.refused("tokenizer", "FREEHOLD_OPS_PORT", FREEHOLD_OPS_PORT=with_port)
    world.refused("tokenizer", f"127.0.0.1:{with_port}", FREEHOLD_RPC_PORT=with_port)


def test_a_service_that_does_not_exist_is_refused(world: World) -> None:
    done = world.deployment.command("serve", "oracle", check=False)
    assert done.returncode == 2
    assert "'oracle' is not one of" in done.stderr


async def test_a_migration_that_was_killed_is_refused_and_then_finished(world: World) -> None:
    database = world.postgres.settings()
    deployment, changes = world.deployment, {"FREEHOLD_DATABASE_NAME": database.name}
    lock = "hashtextextended('freehold/migrate/billing', 0)"
    holder = await asyncpg.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password.get_secret_value(),
        database=database.name,
    )
    await holder.execute(f"SELECT pg_advisory_lock({lock})")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "migrate"),
        cwd=ROOT,
        env={**deployment.environment, **changes},
    )
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not await world.postgres.execute(waiting):
        assert process.returncode is None
        await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    await holder.close()
    world.refused("billing", "the schema billing was not made yet: run `freehold migrate`", **changes)
    assert deployment.command("migrate", "billing", **changes).returncode == 0
    table = await world.postgres.execute(
        "SELECT table_schema, table_name FROM information_schema.columns"
        " WHERE column_name = 'version_num' AND table_schema = 'billing'",
        database.name,
    )
    name = ".".join(table[0].values())
    await world.postgres.execute(f"UPDATE {name} SET version_num = '9999'", database.name)  # noqa: S608
    world.refused("billing", "9999, which a newer version of Freehold made", **changes)
    # Of control the first run had made all, of audit nothing.
    world.refused("audit", "the schema audit was not made yet", **changes)
    deployment.command("migrate", "control", "audit", **changes)


def test_a_database_without_schemas_is_refused(world: World) -> None:
    empty = world.postgres.settings()
    for service in OWNERS:
        world.refused(service, "run `freehold migrate`", FREEHOLD_DATABASE_NAME=empty.name)
