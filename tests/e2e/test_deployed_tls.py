"""The platform with mutual TLS everywhere inside: it works, a thief with one service's key gets no further,
and no secret is told on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from services.control.seed import ORGANISATION
from shared.bus.kafka_bus import KafkaBus
from shared.bus.ports import BusError
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.e2e.canaries import PROMPT, Canaries, files_in, titles
from tests.e2e.collector import Collector
from tests.e2e.running import until
from tests.e2e.secured import Secured, SecuredDeployment, certified

TOPICS = load_topics("compose")
SERVICES = sorted({writer for topic in TOPICS.values() for writer in topic.writers})
MONEY = ("completions", "usage", "closed", "facts", "config")

pytestmark = pytest.mark.timeout(600)  # the first test waits for two servers and seven processes


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Secured(tmp_path_factory.mktemp("secured"))
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def spans() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def platform(
    secured: Secured, spans: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredDeployment]:
    made = SecuredDeployment(
        tmp_path_factory.mktemp("platform"),
        secured,
        FREEHOLD_LOG_LEVEL="DEBUG",
        FREEHOLD_OTLP_ENDPOINT=spans.endpoint,
        FREEHOLD_INFERENCE_TOKENS_PER_SECOND="200",
    )
    try:
        made.prepare()
        made.start()
        made.welcome()
        yield made
    finally:
        made.kill()


def test_it_serves_and_counts_and_gives_receipts(platform: SecuredDeployment) -> None:
    """Claims, usage and receipts are the calls between services; each goes by certificate."""
    answer = platform.ask()
    assert answer.status_code == 200, answer.text
    request = answer.headers["x-request-id"]
    key = {"Authorization": f"Bearer {platform.key}"}
    with httpx.Client(base_url=platform.base_url, headers=key, timeout=30.0, trust_env=False) as client:
        until(lambda: client.get(f"/receipts/{request}").status_code == 200, "the receipt", 60.0)
    assert "ok" in platform.command("ledger", "verify").stdout
    assert "certificate_not_after" in platform.replicas["edge"].metrics()


async def test_a_forged_record_of_any_service_is_refused_and_the_books_stay_as_they_are(
    platform: SecuredDeployment,
) -> None:
    before = platform.command("ledger", "verify").stdout
    refused = 0
    for service in SERVICES:
        bus = KafkaBus(system_host(), TOPICS, platform.kafka(service), "forger")
        await bus.start()
        try:
            for name in (name for name in MONEY if service not in TOPICS[name].writers):
                with pytest.raises(BusError, match="no right"):
                    await bus.publish(name, b"forged", key=ORGANISATION.encode(), partition=0)
                refused += 1
        finally:
            await bus.close()
    assert refused == len(SERVICES) * len(MONEY) - sum(len(TOPICS[name].writers) for name in MONEY)
    assert await asyncio.to_thread(lambda: platform.command("ledger", "verify").stdout) == before


@pytest.mark.parametrize("service", ["edge", "tokenizer", "inference"])
def test_who_has_a_services_key_and_the_token_is_no_operator(
    platform: SecuredDeployment, secured: Secured, service: str
) -> None:
    stolen = certified(secured.house, service)
    for command in (("keys", "list"), ("ledger", "verify"), ("status",)):
        done = platform.command(*command, check=False, **stolen)
        assert done.returncode == 1
        assert "may not call" in done.stderr
    assert platform.command("migrate", check=False, **stolen).returncode == 1, (
        "the database knows no such user"
    )


def test_new_certificates_for_all_are_taken_over_without_a_restart(
    platform: SecuredDeployment, secured: Secured
) -> None:
    def ends() -> set[str]:
        return {
            line.rpartition(" ")[2]
            for replica in platform.replicas.values()
            for line in replica.metrics().splitlines()
            if line.startswith("freehold_process_certificate_not_after")
        }

    before = ends()
    for name in secured.house.authority().holders():
        secured.house.renew(name)
    secured.postgres.renew()
    assert platform.ask().status_code == 200
    assert before.isdisjoint(ends())
    platform.command("status")
    platform.add("edge", "edge-2")
    platform.wait_ready()


def test_no_secret_and_no_text_is_told_anywhere(
    platform: SecuredDeployment, secured: Secured, spans: Collector
) -> None:
    """Prompts, answers and idempotency keys belong on the broker, for minutes, and nowhere else."""
    canaries = Canaries()
    canaries.plant_secrets(platform.folder / "secrets")
    canaries.plant_secrets(secured.house.folder)
    canaries.plant_keys(platform.demo)
    errors = canaries.provoke(platform.base_url, platform.grpc_target, platform.key)
    for service in ("moderation", "inference", "billing"):
        platform.replicas[service].kill()
        platform.replicas[service].again()
    secured.postgres.restart()
    secured.kafka.restart()
    platform.wait_ready()
    until(lambda: platform.ask().status_code == 200, "it to serve again", 60.0)
    logs = [(name, replica.output.encode()) for name, replica in platform.replicas.items()]
    assert all(b"DEBUG" in text or b"INFO" in text for _, text in logs)
    said = {
        "spans": [(one.span.name, one.span.SerializeToString()) for one in spans.spans],
        "metrics": [(name, one.metrics().encode()) for name, one in platform.replicas.items()],
        "logs": logs,
        "processes": titles(one.process.pid for one in platform.replicas.values()),
        "servers' logs": [
            ("Kafka", secured.kafka.log().encode()),
            ("PostgreSQL", secured.postgres.log().encode()),
        ],
        "files": files_in(platform.folder, ("secrets", "home")),
        "errors": errors,
    }
    assert all(said.values()), "each place was looked at"
    assert {place: found for place, texts in said.items() if (found := canaries.leaks(texts))} == {}
    kafka = files_in(secured.kafka.data())
    assert any(PROMPT.encode() in text for _, text in kafka), "the broker has it: looking would find it"
    assert canaries.leaks(kafka, ("the prompt", "the answer", "the idempotency key")) == []
    database = files_in(secured.postgres.data)
    assert canaries.leaks(database) == []
