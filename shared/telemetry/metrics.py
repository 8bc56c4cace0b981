"""Metrics by `prometheus_client`: label sets are bound once and observed on the child (2 us)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """A total; the exposition adds `_total`."""
        return Counter(self._prefix + name, text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """A value that goes up and down."""
        return Gauge(self._prefix + name, text, labels, registry=self._registry)

    def seconds(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
        """A histogram of durations in seconds; name it `…_seconds`."""
        return Histogram(self._prefix + name, text, labels, registry=self._registry, buckets=SECONDS)

    def tokens(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
        """A histogram of token counts."""
        return Histogram(self._prefix + name, text, labels, registry=self._registry, buckets=TOKENS)
