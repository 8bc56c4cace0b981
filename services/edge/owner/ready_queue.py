"""The queue of requests that wait for a worker: tenants share it by tokens. Pure.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) with a request's tokens as its length. What Virtual
Token Counter (Sheng et al., OSDI 2024) adds for language models is kept: who comes back after a pause has
saved up nothing, and what a request did not use of its worst case is given back at its end.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

BATCH_BEHIND_S = 30.0
"""A batch request goes behind its own tenant's interactive ones that come within this time after it: it
waits, and never for ever."""
LOOK_AHEAD = 16
"""Requests of a tenant that are tried where those before them do not fit."""
KEPT = 256
"""Tenants that are kept before those are dropped of whom nothing need be remembered."""


class Ask(NamedTuple):
    """What the queue has to know of a request."""

    tenant: str
    tokens: int
    """What it may cost of the workers at most; above 0."""
    share: float = 1.0
    """The tenant's weight, above 0: with twice the share it is served twice the tokens."""
    batch: bool = False


class Ahead(NamedTuple):
    """What is served before a request that came now, at most."""

    tokens: float
    requests: float
    crowd: float
    """Shares of all that wait over its tenant's: how much longer each of its tokens takes than alone."""


class _Waiting(NamedTuple):
    due: float
    ask: Ask


class _Tenant(Generic[T]):
    __slots__ = ("running", "served", "share", "tokens", "waiting")

    def __init__(self) -> None:
        self.served = 0.0
        """Tokens over the share, its virtual time: worst case of what runs, and what the rest has used."""
        self.running = 0.0
        """Part of it that is of what runs."""
        self.share = 1.0
        self.tokens = [0, 0]
        """Of what waits and is expected: interactive, batch."""
        self.waiting: tuple[OrderedDict[T, _Waiting], ...] = (OrderedDict(), OrderedDict())
        """Interactive, batch; each in the order of `due`."""

    @property
    def asked(self) -> int:
        return self.tokens[0] + self.tokens[1]

    @property
    def settled(self) -> float:
        return self.served - self.running

    def in_turn(self) -> Iterator[tuple[T, _Waiting]]:
        """What waits, in the order of its own turns."""
        interactive, batch = self.waiting
        if not batch:
            return iter(interactive.items())
        return heapq.merge(interactive.items(), batch.items(), key=_due)


class ReadyQueue(Generic[T]):
    """Of the tenants that wait, the one that was served the least for its share is next.

    For two tenants that wait all the time and whose requests fit, the tokens served over the share never
    differ by more than one's largest request over its share plus the other's. Within a tenant: first come,
    first served, batch behind interactive. One queue a model.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant[T]] = {}
        self._asks: dict[T, Ask] = {}
        """Of everything that waits its turn."""
        self._resumed: OrderedDict[T, int] = OrderedDict()
        """What goes before every turn -> its tokens."""
        self._active: dict[str, _Tenant[T]] = {}
        """Tenants of which something waits."""
        self._expected = 0
        self._tokens = 0
        """Of all that waits its turn or is expected."""
        self._shares = 0.0
        """Of the tenants that these belong to."""
        self._virtual = 0.0
        """What the tenant that was served last had used before."""
        self._keep = KEPT

    def __len__(self) -> int:
        return len(self._asks) + len(self._resumed)

    def __iter__(self) -> Iterator[T]:
        """All that wait, in no promised order."""
        yield from self._resumed
        yield from self._asks

    def expect(self, ask: Ask) -> None:
        """A request will be pushed soon; until it has `arrived` it counts as if it waited."""
        self._count(self._tenant(ask.tenant), ask, 1)
        self._expected += 1

    def arrived(self, ask: Ask) -> None:
        """An expected request is pushed now, or never."""
        self._count(self._tenants[ask.tenant], ask, -1)
        self._expected -= 1

    def push(self, item: T, ask: Ask, now: float) -> None:
        """Add a request behind its tenant's others."""
        tenant = self._tenant(ask.tenant)
        if ask.tenant not in self._active:
            # To what others have used: what they run besides may be given back, and must not hold it up.
            tenant.served = max(tenant.served, self._least_used())
        tenant.waiting[ask.batch][item] = _Waiting(now + BATCH_BEHIND_S * ask.batch, ask)
        self._count(tenant, ask, 1)
        self._active[ask.tenant] = tenant
        self._asks[item] = ask

    def resume(self, item: T, tokens: int) -> None:
        """Add a request that had a worker and lost it: it goes first, and its tenant has paid for it."""
        self._resumed[item] = tokens

    def pop(self, fits: Callable[[T], bool]) -> T | None:
        """The next request that fits; None where none does. Whoever does not fit keeps its turn."""
        for item in self._resumed:
            if fits(item):
                del self._resumed[item]
                return item
        for tenant in self._in_turn():
            for item, one in islice(tenant.in_turn(), LOOK_AHEAD):
                if fits(item):
                    self._remove(tenant, item, one.ask)
                    self._virtual = max(self._virtual, tenant.settled)
                    tenant.served += one.ask.tokens / one.ask.share
                    tenant.running += one.ask.tokens / one.ask.share
                    return item
        return None

    def discard(self, item: T) -> None:
        """Forget a request, if it waits; it costs nothing."""
        self._resumed.pop(item, None)
        if (ask := self._asks.get(item)) is not None:
            self._remove(self._tenants[ask.tenant], item, ask)

    def settle(self, ask: Ask, used: float) -> None:
        """A request that was popped has ended, and used so many of its tokens."""
        tenant = self._tenants[ask.tenant]
        tenant.running -= ask.tokens / ask.share
        tenant.served -= max(0.0, ask.tokens - used) / ask.share
        if not self._asks:  # nobody waits: what was served so far took nothing from anybody
            self._virtual = max(self._virtual, tenant.settled)

    def ahead(self, ask: Ask) -> Ahead:
        """See `Ahead`."""
        if not (self._asks or self._resumed or self._expected):
            return Ahead(0.0, 0.0, 1.0)
        resumed = sum(self._resumed.values())
        total, own, shares = resumed + self._tokens, 0, self._shares
        tenant = self._tenants.get(ask.tenant)
        if tenant is not None and tenant.asked:
            own = tenant.asked if ask.batch else tenant.tokens[0]
            shares -= tenant.share
        crowd = 1.0 + shares / ask.share
        tokens = min(total, resumed + own * crowd)
        return Ahead(tokens, (len(self) + self._expected) * tokens / total if total else 0.0, crowd)

    def _in_turn(self) -> Iterator[_Tenant[T]]:
        """Tenants that wait, who was served least first: mostly the first is all that is looked at."""
        if self._active:
            yield min(self._active.values(), key=_served)
            yield from sorted(self._active.values(), key=_served)[1:]

    def _count(self, tenant: _Tenant[T], ask: Ask, sign: int) -> None:
        if tenant.asked:
            self._shares -= tenant.share
        tenant.tokens[ask.batch] += sign * ask.tokens
        self._tokens += sign * ask.tokens
        if sign > 0:
            tenant.share = ask.share
        if tenant.asked:
            self._shares += tenant.share

    def _tenant(self, name: str) -> _Tenant[T]:
        tenant = self._tenants.get(name)
        if tenant is None:
            if len(self._tenants) >= self._keep:
                self._forget()
            tenant = self._tenants[name] = _Tenant()
        return tenant

    def _forget(self) -> None:
        """Drop who waits for nothing and would be lifted anyway."""
        least = self._least_used()
        self._tenants = {
            name: tenant
            for name, tenant in self._tenants.items()
            if tenant.asked or tenant.running or tenant.served > least
        }
        self._keep = max(KEPT, 2 * len(self._tenants))

    def _least_used(self) -> float:
        used = (tenant.settled for tenant in self._active.values())
        return min(used, default=self._virtual)

    def _remove(self, tenant: _Tenant[T], item: T, ask: Ask) -> None:
        del tenant.waiting[ask.batch][item]
        self._count(tenant, ask, -1)
        del self._asks[item]
        if not any(tenant.waiting):
            del self._active[ask.tenant]


_served = attrgetter("served")


def _due(entry: tuple[object, _Waiting]) -> float:
    return entry[1].due
