"""The metrics of a service: label sets are bound once and observed on the child."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, overload

from prometheus_client import CollectorRegistry

from shared.telemetry.instruments import Bounded, Counter, Family, Gauge, Histogram, Read, Reading

__all__ = ["SECONDS", "TOKENS", "Bounded", "Counter", "Family", "Gauge", "Histogram", "Metrics"]

SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
)
"""Buckets for waits and durations: from one bus hop to the longest deadline's neighbourhood."""
TOKENS: Final = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)
"""Buckets for token counts."""


class Metrics:
    """Makes the metrics of one service, all named `freehold_<service>_<name>`.

    Bind label sets at start: `allowed = metrics.counter("verdicts", "…", ("verdict",)).labels("allow")`.
    A label's values must be few and known: never a request, key, user or text.
    """

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self._registry = registry
        self._prefix = f"freehold_{service}_"

    @overload
    def counter(self, name: str, text: str) -> Counter: ...

    @overload
    def counter(self, name: str, text: str, labels: Sequence[str]) -> Family[Counter]: ...

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter | Family[Counter]:
        """A total; the exposition adds `_total`."""
        family = Family(self._registry, self._prefix + name, text, labels, Counter)
        return family if labels else family.labels()

    @overload
    def gauge(self, name: str, text: str) -> Gauge: ...

    @overload
    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Family[Gauge]: ...

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge | Family[Gauge]:
        """A value that goes up and down."""
        family = Family(self._registry, self._prefix + name, text, labels, Gauge)
        return family if labels else family.labels()

    @overload
    def seconds(self, name: str, text: str) -> Histogram: ...

    @overload
    def seconds(self, name: str, text: str, labels: Sequence[str]) -> Family[Histogram]: ...

    def seconds(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram | Family[Histogram]:
        """A histogram of durations in seconds; name it `…_seconds`."""
        family = Family(self._registry, self._prefix + name, text, labels, partial(Histogram, SECONDS))
        return family if labels else family.labels()

    def tokens(self, name: str, text: str) -> Histogram:
        """A histogram of token counts."""
        return Family(self._registry, self._prefix + name, text, (), partial(Histogram, TOKENS)).labels()

    def read(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is asked for at a scrape."""
        self.read_each(name, text, (), lambda: {(): read()})

    def read_total(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A total that is kept elsewhere and asked for at a scrape; the exposition adds `_total`."""
        Reading(self._registry, self._prefix + name, text, (), "counter", lambda: {(): read()})

    def read_each(self, name: str, text: str, labels: Sequence[str], read: Read) -> None:
        """A gauge for each of several labels' values, asked for at a scrape."""
        Reading(self._registry, self._prefix + name, text, labels, "gauge", read)
