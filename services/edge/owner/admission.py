"""Who may begin: bounds on what is in flight and how long it waits, each with a time to come back. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from services.edge.owner.pace import Pace
from services.edge.owner.returns import Returns
from shared.errors import FreeholdError, Kind

LEAST_WAIT_S = 1.0
WAIT_SHARE = 0.5
"""A request may wait for a worker this share of the time that answers take, and always `LEAST_WAIT_S`: so
what is let in under any load is answered within twice the time that it takes without."""
UNKNOWN_S = 2.0
"""Told where nothing has been measured yet."""
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one edge process."""

    in_flight: int = 4096
    """Requests at once, over all keys."""
    in_flight_bytes: int = 64 << 20
    """Bytes of their bodies."""
    in_flight_tokens: int = 16 << 20
    """Tokens that they may cost of the workers: bound of the prompt and most output, of all choices."""
    tenant_part: float = 0.8
    """Of each of these three, what one organisation alone may take. Several share by the same rule: each may
    hold `tenant_part / (1 - tenant_part)` times what is free, so something is always free for another."""
    wait_s: float = 0.0
    """Longest time that a request of an interactive key may wait for a worker; 0 = half as long as answers
    take, at least a second."""
    key_rate: float = 0.0
    """Requests that one key may begin in a second, in the long run; 0 = not bounded."""
    key_burst: int = 64
    """How many of them at once, after a pause."""
    deadline_s: float = 600.0
    """Longest deadline of any key."""


class Delay(NamedTuple):
    """What the dispatcher foresees, in seconds; 0 = nothing to tell it by."""

    wait_s: float = 0.0
    """Until the request has a worker."""
    stay_s: float = 0.0
    """That requests keep a worker."""
    spacing_s: float = 0.0
    """By which a request of this size makes its tenant's next one wait longer."""


class Asking(NamedTuple):
    """A request that wants to begin."""

    key: str
    tenant: str
    size: int
    """Bytes of its body."""
    tokens: int
    key_limit: int
    """Requests that its key may have in flight."""
    deadline_s: float
    batch: bool = False
    delay: Delay = Delay()


class _Bucket:
    __slots__ = ("at", "level")

    def __init__(self, level: float, at: float) -> None:
        self.level = level
        self.at = at


Held = tuple[int, int, int]
"""Requests, bytes, tokens."""
NOTHING: Held = (0, 0, 0)
WORDS = ("requests are", "bytes of requests are", "tokens are")


class Admission:
    """Counts what is in flight; refuses what is above a bound, and says when to come back."""

    def __init__(self, limits: Limits, chance: random.Random) -> None:
        self._limits = limits
        self._returns = Returns(chance)
        self._bounds: Held = (limits.in_flight, limits.in_flight_bytes, limits.in_flight_tokens)
        self._keys: dict[str, int] = {}
        self._tenants: dict[str, Held] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._pace = Pace()
        """Of requests, from acceptance to end."""
        self.held: Held = NOTHING

    def enter(self, asking: Asking, now: float) -> None:
        """Count a request in. Raises `FreeholdError` RATE for its key or tenant, OVERLOADED for all."""
        self._check_bounds(asking, now)
        running = self._keys.get(asking.key, 0)
        if running >= asking.key_limit:
            message = f"this key has {running} requests in flight, the most it may have"
            raise self._full(Kind.RATE, message, f"key/{asking.key}", asking, 1 / max(1, running), now)
        self._check_wait(asking, now)
        if self._limits.key_rate:
            self._spend(asking.key, now)
        self._keys[asking.key] = running + 1
        self._count(asking, 1)

    def leave(self, asking: Asking, stayed_s: float, now: float) -> None:
        """Count a request out that was counted in with the same arguments."""
        self._pace.stayed(1, stayed_s, now)
        self._count(asking, -1)
        running = self._keys[asking.key] - 1
        if running:
            self._keys[asking.key] = running
        else:
            del self._keys[asking.key]

    def forget(self, now: float) -> None:
        """Drop what is no longer needed of keys that ask no more; call now and then."""
        limits = self._limits
        full = [
            key
            for key, bucket in self._buckets.items()
            if bucket.level + (now - bucket.at) * limits.key_rate >= limits.key_burst
        ]
        for key in full:
            del self._buckets[key]
        self._returns.forget(now)

    def _count(self, asking: Asking, sign: int) -> None:
        change = (sign, sign * asking.size, sign * asking.tokens)
        self.held = _plus(self.held, change)
        self._pace.under_way = self.held[0]
        tenant = _plus(self._tenants.get(asking.tenant, NOTHING), change)
        if tenant[0]:
            self._tenants[asking.tenant] = tenant
        else:
            del self._tenants[asking.tenant]

    def _check_bounds(self, asking: Asking, now: float) -> None:
        amounts = (1, asking.size, asking.tokens)
        tenant = self._tenants.get(asking.tenant, NOTHING)
        part = self._limits.tenant_part
        for number, bound in enumerate(self._bounds):
            amount, free = amounts[number], bound - self.held[number] - amounts[number]
            if free < 0:
                message = f"too many {WORDS[number]} in flight"
                part_of = amount / max(1, self.held[number])
                raise self._full(Kind.OVERLOADED, message, EVERYBODY, asking, part_of, now)
            if (tenant[number] + amount) * (1 - part) > part * free:
                message = f"too many {WORDS[number]} in flight for this organisation"
                part_of = amount / max(1, tenant[number])
                raise self._full(Kind.RATE, message, f"tenant/{asking.tenant}", asking, part_of, now)

    def _check_wait(self, asking: Asking, now: float) -> None:
        """Refuse at once what would wait too long. Who was told to come back finds room that newcomers leave:
        they may fill half of it while a promise is due.
        """
        delay, scope = asking.delay, f"wait/{asking.tenant}"
        limit = self._wait_limit(asking)
        due = self._returns.due(scope, now)
        returned = self._returns.keep(scope, asking.key, now)
        if delay.wait_s > (2 * limit if returned else limit / 2 if due else limit):
            message = "no worker would be free for this request soon enough"
            after = delay._replace(wait_s=delay.wait_s - limit)
            raise self._refused(Kind.OVERLOADED, message, scope, asking, after, now)

    def _wait_limit(self, asking: Asking) -> float:
        deadline, stay = asking.deadline_s, asking.delay.stay_s
        last = max(deadline / 2, deadline - stay)
        if asking.batch:
            return last
        return min(last, self._limits.wait_s or max(LEAST_WAIT_S, WAIT_SHARE * stay))

    def _full(
        self, kind: Kind, message: str, scope: str, asking: Asking, part: float, now: float
    ) -> FreeholdError:
        """What is under way now has ended after its stay, and of it the request takes `part`; as others ask
        for the same room, each is told twice that.
        """
        stay = self._pace.stay_s
        return self._refused(kind, message, scope, asking, Delay(stay, stay, 2 * part * stay), now)

    def _refused(
        self, kind: Kind, message: str, scope: str, asking: Asking, delay: Delay, now: float
    ) -> FreeholdError:
        spacing = delay.spacing_s or UNKNOWN_S
        after = self._returns.promise(scope, asking.key, max(delay.wait_s, spacing), spacing, now)
        return FreeholdError(kind, message, retry_after=after)

    def _spend(self, key: str, now: float) -> None:
        limits = self._limits
        bucket = self._buckets.setdefault(key, _Bucket(limits.key_burst, now))
        bucket.level = min(limits.key_burst, bucket.level + (now - bucket.at) * limits.key_rate)
        bucket.at = now
        if bucket.level < 1:
            spacing = 1 / limits.key_rate
            wait = (1 - bucket.level) * spacing
            after = self._returns.promise(f"rate/{key}", key, wait, spacing, now)
            raise FreeholdError(Kind.RATE, "this key begins requests too fast", retry_after=after)
        bucket.level -= 1


def _plus(one: Held, other: Held) -> Held:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
