"""The telemetry of one process: recorders, the local span store, the metrics' registry, the exporter."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.host import Host
from shared.telemetry.bus import BusMetrics, ConsumerMetrics
from shared.telemetry.export import Exporter
from shared.telemetry.metrics import Counter, Family, Metrics
from shared.telemetry.semconv import MESSAGING_SYSTEM_FREEHOLD
from shared.telemetry.settings import TelemetrySettings
from shared.telemetry.store import SpanStore
from shared.telemetry.trace import Recorder
from shared.telemetry.turns import Turn


class Telemetry:
    """Made once a process. Recording works before `start` and after `stop`; only export needs them."""

    def __init__(
        self,
        host: Host,
        settings: TelemetrySettings,
        registry: CollectorRegistry | None = None,
        *,
        instance: str = "",
        system: str = MESSAGING_SYSTEM_FREEHOLD,
    ) -> None:
        """`instance` names this replica, its incarnation where empty; `system` is the bus's kind in spans."""
        self._host = host
        self._settings = settings
        self._system = system
        self.registry = registry or CollectorRegistry()
        """Where every service of the process registers its metrics; what `/metrics` shows."""
        self._bus = BusMetrics(self.registry)
        self.store = SpanStore(settings.trace_store)
        text = "Spans by what became of their export."
        spans = Family(self.registry, "freehold_telemetry_spans", text, ("outcome",), Counter)
        self._exporter = Exporter(host, settings, spans, instance) if settings.otlp_endpoint else None

    def recorder(self, service: str) -> Recorder:
        """A recorder whose spans carry `service.name` = `service`."""
        sinks = [self.store.add] if self._exporter is None else [self.store.add, self._exporter.add]
        return Recorder(service, self._host.random, self._settings.trace_ratio, sinks)

    def turn(self, recorder: Recorder, topic: str, verb: str, *, publishes: bool = True) -> Turn:
        """A batch begins that `recorder`'s service is to `verb`; `publishes` where it answers on the bus."""
        return Turn(recorder, self._host.clock, self._system, topic, verb, publishes=publishes)

    def metrics(self, service: str) -> Metrics:
        """A maker of `freehold_<service>_*` metrics in this process's registry."""
        return Metrics(self.registry, service)

    def consumer(self, group: str) -> ConsumerMetrics:
        """An observer for one consumer of the bus; `freehold_bus_*` metrics by group and topic."""
        return ConsumerMetrics(self._bus, group)

    async def start(self) -> None:
        """Begin to export, where an endpoint is set. Never waits for the collector."""
        if self._exporter:
            self._exporter.start()

    async def stop(self, deadline: float) -> None:
        """Send what waits until `deadline` (monotonic seconds); a dead collector delays nothing."""
        if self._exporter:
            await self._exporter.stop(deadline)
