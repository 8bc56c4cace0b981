"""The queue of requests that wait for a worker, fair among tenants. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE_S = 5.0
"""How long the head of a tenant's queue may be passed over because it needs more than is free; then
nothing overtakes it until it fits."""


class ReadyQueue(Generic[T]):
    """Tenants take turns; within a tenant first come, first served.

    A tenant that floods waits only behind its own requests. One queue a model: what waits for one model
    never holds up another.
    """

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, deque[tuple[float, T]]] = OrderedDict()
        """Those that wait, in the order of their next turns."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """All that wait, in no promised order."""
        return (item for waiting in self._tenants.values() for _, item in waiting)

    def push(self, tenant: str, item: T, now: float, *, first: bool = False) -> None:
        """Add a request; `first` = before the tenant's others."""
        waiting = self._tenants.setdefault(tenant, deque())
        if first:
            waiting.appendleft((now, item))
        else:
            waiting.append((now, item))
        self._size += 1

    def pop(self, fits: Callable[[T], bool], now: float) -> T | None:
        """The next request whose turn it is and that fits; None where nothing may go.

        The tenant it came from goes behind the others.
        """
        for tenant, waiting in self._tenants.items():
            since, item = waiting[0]
            if fits(item):
                waiting.popleft()
                self._size -= 1
                self._tenants.move_to_end(tenant)
                if not waiting:
                    del self._tenants[tenant]
                return item
            if now - since >= PATIENCE_S:
                return None
        return None

    def discard(self, tenant: str, item: T) -> None:
        """Forget a request, if it waits."""
        waiting = self._tenants.get(tenant)
        if waiting is None:
            return
        for number, (_, other) in enumerate(waiting):
            if other is item:
                del waiting[number]
                self._size -= 1
                break
        if not waiting:
            del self._tenants[tenant]
