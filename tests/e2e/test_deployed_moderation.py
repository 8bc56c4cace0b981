"""Two replicas of moderation over the real broker, and one is killed: the streams go on, whole, and no work
is sent twice for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.audience import Audience
from tests.e2e.deployment import SERVICES, Deployment, Replica
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.timeout(600)

STREAMS = 24
PACE = 25


class World:
    """A deployment, and what it counts."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

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
        deployment = Deployment(
            tmp_path_factory.mktemp("deployment"),
            kafka.settings(prefix="moderated."),
            postgres.settings(),
            FREEHOLD_INFERENCE_TOKENS_PER_SECOND=str(PACE),
        )
        deployment.prepare()
        for service in SERVICES:
            deployment.add(service)
        deployment.add("moderation", "moderation-2")
        deployment.wait_ready()
        deployment.welcome()
        yield World(deployment)
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
