"""The output side of a replica of moderation, without the rest of it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from services.moderation.app import OUTPUT
from services.moderation.handlers import OutputHandler
from services.moderation.observing import Observer
from services.moderation.output.streams import Streams
from services.moderation.policy import Policy
from shared.bus.consumer import Consumer, InGroup
from shared.bus.ports import Bus
from shared.bus.topics import Topics
from shared.configuration import Configuration
from shared.host import Host
from shared.telemetry import Telemetry, TelemetrySettings


class Single:
    """One policy, whatever is named."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def find(self, _named: object) -> Policy:
        return self._policy


def vetting(bus: Bus, host: Host, topics: Topics, policy: Policy, member: str) -> Consumer:
    """A consumer that is not started. It is behind no configuration."""
    observer = Observer(Telemetry(host, TelemetrySettings(), CollectorRegistry()), host.clock)
    configuration = Configuration()
    configuration.offset = 1 << 40
    packs = Single(policy)
    handler = OutputHandler(
        configuration,
        packs,  # type: ignore[arg-type]
        lambda: Streams(packs.find, observer, 30.0),
        bus,
        host.incarnation,
        observer,
        host.clock,
    )
    return Consumer(bus, host, topics, InGroup(("frames",), OUTPUT, member), handler, memory=handler)
