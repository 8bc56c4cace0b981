"""What consumers tell about themselves, as metrics; satisfies `shared.bus.observer.Observer`."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

from shared.telemetry.instruments import Counter, Family, Gauge

OUTCOMES: Final = ("handled", "stale", "dead_lettered", "parked", "kept_last_good")


class BusMetrics:
    """The families of one process, registered once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Family(
            registry,
            "freehold_bus_records",
            "Records by what became of them.",
            ("group", "topic", "outcome"),
            Counter,
        )
        self.faults = Family(
            registry,
            "freehold_bus_faults",
            "Batches that a fault of the bus or the database held up.",
            ("group", "topic"),
            Counter,
        )
        self.lag = Family(
            registry,
            "freehold_bus_lag_records",
            "Records between what is finished and the end of the topic.",
            ("group", "topic"),
            Gauge,
        )


class ConsumerMetrics:
    """One consumer's share; its children are bound at the first use of a topic."""

    def __init__(self, metrics: BusMetrics, group: str) -> None:
        self._metrics = metrics
        self._group = group
        self._outcomes: dict[tuple[str, str], Counter] = {}

    def _count(self, topic: str, outcome: str, records: int) -> None:
        self._bind(topic)
        self._outcomes[topic, outcome].inc(records)

    def _bind(self, topic: str) -> None:
        """All outcomes at once, so that the first dead letter is an increase from 0 and raises its alarm."""
        if (topic, OUTCOMES[0]) not in self._outcomes:
            for outcome in OUTCOMES:
                self._outcomes[topic, outcome] = self._metrics.records.labels(self._group, topic, outcome)
            self._metrics.faults.labels(self._group, topic)

    def handled(self, topic: str, records: int) -> None:
        """A batch had its effect."""
        self._count(topic, "handled", records)

    def stale(self, topic: str, records: int) -> None:
        """Records were older than their `ttl_ms` and dropped."""
        self._count(topic, "stale", records)

    def dead_lettered(self, topic: str) -> None:
        """A transit record went to `dlq`."""
        self._count(topic, "dead_lettered", 1)

    def parked(self, topic: str) -> None:
        """A record of a record topic was parked."""
        self._count(topic, "parked", 1)

    def kept_last_good(self, topic: str) -> None:
        """A value of a config topic was left aside."""
        self._count(topic, "kept_last_good", 1)

    def fault(self, topic: str) -> None:
        """A batch will be tried again."""
        self._metrics.faults.labels(self._group, topic).inc()

    def lag(self, topic: str, records: int) -> None:
        """How far the consumer is behind; every few seconds, so a quiet topic is bound too."""
        self._bind(topic)
        self._metrics.lag.labels(self._group, topic).set(records)
