"""Two replicas of moderation over the real broker; one is killed, stopped, halted, or the group is shaken:
the streams go on, whole, and no work is sent twice for it. Requests that were being prepared come through.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import load_pack
from services.moderation.policy import Policy
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.e2e.audience import Audience
from tests.e2e.customers import Customers
from tests.e2e.deployment import SERVICES, Deployment, Replica
from tests.e2e.running import ROOT, until
from tests.integration.vetting import vetting
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.timeout(600)

LONG = pytest.mark.long
STREAMS = 24
PACE = 25
PREPARED_S = 20.0
"""The edge fails a request that is prepared for longer."""
COMPILED_S = 240.0
"""A restarted replica compiles its packs first: seconds, or many on a busy machine."""


class World:
    """A deployment, and what it counts."""

    def __init__(self, deployment: Deployment, kafka: KafkaSettings) -> None:
        self.deployment = deployment
        self.kafka = kafka

    def restarted(self, name: str) -> None:
        """Start a replica again, and return once it is ready."""
        replica = self.replica(name)
        if replica.process.poll() is not None:
            replica.again()
        until(lambda: replica.ready, f"{name} to be ready", COMPILED_S)

    def replica(self, name: str) -> Replica:
        return self.deployment.replicas[name]

    def audience(self, tokens: int) -> Audience:
        return Audience(self.deployment.base_url, self.deployment.key, STREAMS, tokens)

    def dispatches(self) -> int:
        """Work that the edge has sent."""
        found = re.search(r"(?m)^freehold_edge_attempts_total (\S+)", self.replica("edge").metrics())
        return round(float(found[1])) if found else 0

    def check(self, audience: Audience, sent_before: int, fault: str) -> None:
        """Print the figure. Raises `AssertionError` where a stream is not whole, or was sent again."""
        heard = audience.heard
        completed = [one for one in heard if one.outcome == "completed"]
        again = self.dispatches() - sent_before - len(heard)
        still = max(one.stood_still for one in heard)
        print(
            f"{fault}: {len(completed)} of {len(heard)} whole, {again} sent again, {still:.1f} s still; ",
            end="",
        )
        assert len(completed) == len(heard), [one.outcome for one in heard if one.outcome != "completed"]
        for seed in {one.seed for one in heard}:
            assert len({one.text for one in heard if one.seed == seed}) == 1, "text was lost or repeated"
        assert len({one.text for one in heard}) == len({one.seed for one in heard})
        assert {one.counted for one in heard} == {heard[0].tokens}
        assert again == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kafka, postgres = Kafka(tmp_path_factory.mktemp("kafka")), Postgres()
    deployment: Deployment | None = None
    try:
        kafka.start()
        postgres.start()
        settings = kafka.settings(prefix="moderated.")
        deployment = Deployment(
            tmp_path_factory.mktemp("deployment"),
            settings,
            postgres.settings(),
            FREEHOLD_INFERENCE_TOKENS_PER_SECOND=str(PACE),
        )
        deployment.prepare()
        for service in SERVICES:
            deployment.add(service)
        for service in ("moderation", "tokenizer"):
            deployment.add(service, f"{service}-2")
        deployment.wait_ready()
        deployment.welcome()
        yield World(deployment, settings)
    finally:
        if deployment is not None:
            deployment.kill()
        kafka.remove()
        postgres.remove()


def test_a_replica_is_killed(world: World) -> None:
    sent = world.dispatches()
    with world.audience(20 * PACE) as audience:
        audience.until_all_heard(3 * PACE)
        world.replica("moderation").kill()
    world.check(audience, sent, "killed")
    world.restarted("moderation")


@LONG
def test_a_replica_is_killed_and_comes_again_at_once(world: World) -> None:
    sent = world.dispatches()
    with world.audience(20 * PACE) as audience:
        audience.until_all_heard(3 * PACE)
        world.replica("moderation").kill()
        world.replica("moderation").again()
    world.check(audience, sent, "killed and back")
    world.restarted("moderation")


@LONG
def test_a_replica_is_stopped(world: World) -> None:
    sent = world.dispatches()
    with world.audience(20 * PACE) as audience:
        audience.until_all_heard(3 * PACE)
        assert world.replica("moderation").stop() == 0
    world.check(audience, sent, "stopped")
    world.restarted("moderation")


@LONG
def test_a_replica_is_halted_and_goes_on(world: World) -> None:
    sent = world.dispatches()
    halted = world.replica("moderation").process.pid
    with world.audience(30 * PACE) as audience:
        audience.until_all_heard(3 * PACE)
        os.kill(halted, signal.SIGSTOP)
        try:
            time.sleep(10.0)  # the fault itself: the group gives its lanes away after 6 s
        finally:
            os.kill(halted, signal.SIGCONT)
    world.check(audience, sent, "halted for 10 s")
    world.restarted("moderation")


@LONG
def test_both_are_restarted_one_after_the_other(world: World) -> None:
    sent = world.dispatches()
    with world.audience(40 * PACE) as audience:
        audience.until_all_heard(3 * PACE)
        for name in ("moderation", "moderation-2"):
            assert world.replica(name).stop() == 0
            world.restarted(name)
    world.check(audience, sent, "rolling restart")


@LONG
def test_a_third_comes_and_goes_every_two_seconds(world: World) -> None:
    policy = Policy([compile_pack(load_pack((ROOT / "ops" / "policies" / "base.yaml").read_text()))])
    sent = world.dispatches()
    with world.audience(40 * PACE) as audience:
        audience.until_all_heard(3 * PACE)
        turns = asyncio.run(come_and_go(world.kafka, policy, seconds=24.0))
    world.check(audience, sent, f"{turns} rebalances of a third that comes and goes")


async def come_and_go(kafka: KafkaSettings, policy: Policy, seconds: float) -> int:
    """A replica's output side joins the group, vets for two seconds and leaves; how often it did either."""
    host, topics = system_host(), load_topics("compose")
    bus = KafkaBus(host, topics, kafka, "moderation")
    await bus.start()
    turns, begun = 0, time.monotonic()
    try:
        while time.monotonic() - begun < seconds:
            consumer = vetting(bus, host, topics, policy, "moderation-3")
            await consumer.start()
            await asyncio.sleep(2.0)
            await consumer.stop(host.clock.monotonic() + 5)
            await asyncio.sleep(2.0)
            turns += 2
    finally:
        await bus.close()
    return turns


@LONG
@pytest.mark.parametrize("service", ["moderation", "tokenizer"])
def test_what_a_killed_replica_was_preparing_comes_through(world: World, service: str) -> None:
    with Customers([world.deployment.base_url], world.deployment.key) as customers:
        customers.served_again()
        world.replica(service).kill()
        customers.settled_down(40)
    counts = customers.counts
    failed = counts["error"] + counts["cut"] + counts["unreached"]
    print(
        f"{service} killed: {failed} of {customers.sent} failed, slowest {customers.slowest:.1f} s; ", end=""
    )
    assert failed == 0, counts
    assert customers.slowest < PREPARED_S
    world.restarted(service)
