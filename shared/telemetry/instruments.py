"""Counters, gauges and histograms that cost an addition; read by `prometheus_client` at a scrape.

A bound child of `prometheus_client` takes a lock for every number, 2 us a call, and a request makes
some thirty. These are plain attributes, so they belong to one thread: the event loop's.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

Sample = tuple[str, Mapping[str, str], float]
"""What follows the metric's name, labels beside its own, the number."""


class Counter:
    """A total that only grows."""

    kind = "counter"
    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add to it; `amount` is not negative."""
        self.total += amount

    def samples(self) -> Iterator[Sample]:
        """What a scrape reads."""
        yield "_total", {}, self.total


class Gauge:
    """A value that goes up and down."""

    kind = "gauge"
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace it."""
        self.value = value

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.value += amount

    def dec(self, amount: float = 1) -> None:
        """Take from it."""
        self.value -= amount

    def samples(self) -> Iterator[Sample]:
        """What a scrape reads."""
        yield "", {}, self.value


class Histogram:
    """How many observations lie at or below each bound, and their sum."""

    kind = "histogram"
    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # not cumulated; the last is above all bounds
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Add one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def samples(self) -> Iterator[Sample]:
        """What a scrape reads."""
        total = 0
        names = [str(float(bound)) for bound in self._bounds]
        for name, count in zip([*names, "+Inf"], self._counts, strict=True):
            total += count
            yield "_bucket", {"le": name}, total
        yield "_count", {}, total
        yield "_sum", {}, self.sum


Child = TypeVar("Child", Counter, Gauge, Histogram)


class Family(Collector, Generic[Child]):
    """One metric in a registry: its children by their labels' values. Where it has no labels, its one
    child is `labels()`. `name` is without a counter's `_total`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: Sequence[str],
        make: Callable[[], Child],
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._make: Callable[[], Child] = make
        self._children: dict[tuple[str, ...], Child] = {}
        registry.register(self)

    def labels(self, *values: str) -> Child:
        """The child of these values, in the order of the labels' names; the same one at each call."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}")
            child = self._children[values] = self._make()
        return child

    def describe(self) -> list[Metric]:
        """By which the registry refuses a name that it has."""
        return [Metric(self._name, self._text, self._make().kind)]

    def collect(self) -> list[Metric]:
        """What a scrape reads."""
        (metric,) = self.describe()
        for values, child in self._children.items():
            labels = dict(zip(self._labels, values, strict=True))
            for suffix, more, value in child.samples():
                metric.add_sample(self._name + suffix, {**labels, **more}, value)
        return [metric]


Read = Callable[[], Mapping[tuple[str, ...], float]]
"""Values by their labels' values, which are as few and known as any label's."""


class Reading(Collector):
    """A metric whose values are asked for at a scrape and nowhere else: it costs the work nothing.

    `name` is without a counter's `_total`. A `read` that raises shows nothing and spoils no scrape.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: Sequence[str],
        kind: str,
        read: Read,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._kind = kind
        self._read = read
        registry.register(self)

    def describe(self) -> list[Metric]:
        """By which the registry refuses a name that it has."""
        return [Metric(self._name, self._text, self._kind)]

    def collect(self) -> list[Metric]:
        """What a scrape reads."""
        (metric,) = self.describe()
        try:
            found = self._read()
        except Exception:
            log.exception("%s cannot be read", self._name)
            return [metric]
        suffix = "_total" if self._kind == "counter" else ""
        for values, number in found.items():
            metric.add_sample(self._name + suffix, dict(zip(self._labels, values, strict=True)), number)
        return [metric]


OTHER = "other"


class Bounded:
    """Keeps a label's values few where nobody knows them before: the first so many keep their names, what
    comes after is `other`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """The label's value for this one."""
        if value not in self._known:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(value)
        return value
