"""Who may begin: bounds on what is in flight, over all and for each key. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import FreeholdError, Kind

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one edge process."""

    in_flight: int = 1024
    """Requests at once, over all keys."""
    in_flight_bytes: int = 64 << 20
    """Bytes of their bodies."""
    key_rate: float = 0.0
    """Requests that one key may begin in a second, in the long run; 0 = not bounded."""
    key_burst: int = 64
    """How many of them at once, after a pause."""
    deadline_s: float = 600.0
    """Longest deadline of any key."""


class _Bucket:
    __slots__ = ("at", "level")

    def __init__(self, level: float, at: float) -> None:
        self.level = level
        self.at = at


class Admission:
    """Counts what is in flight; refuses what is above a bound."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._keys: dict[str, int] = {}
        self._buckets: dict[str, _Bucket] = {}
        self.count = 0
        self.bytes = 0

    def enter(self, key: str, size: int, key_limit: int, now: float) -> None:
        """Count a request in. Raises `FreeholdError` RATE for its key, OVERLOADED for all."""
        limits = self._limits
        if self.count >= limits.in_flight or self.bytes + size > limits.in_flight_bytes:
            raise FreeholdError(Kind.OVERLOADED, "too many requests are in flight", retry_after=RETRY_AFTER_S)
        running = self._keys.get(key, 0)
        if running >= key_limit:
            raise FreeholdError(
                Kind.RATE,
                f"this key has {running} requests in flight, the most it may have",
                retry_after=RETRY_AFTER_S,
            )
        if limits.key_rate:
            self._spend(key, now)
        self._keys[key] = running + 1
        self.count += 1
        self.bytes += size

    def leave(self, key: str, size: int) -> None:
        """Count a request out that was counted in with the same arguments."""
        self.count -= 1
        self.bytes -= size
        running = self._keys[key] - 1
        if running:
            self._keys[key] = running
        else:
            del self._keys[key]

    def forget(self, now: float) -> None:
        """Drop buckets that are full again; call now and then, so that they do not pile up."""
        limits = self._limits
        full = [
            key
            for key, bucket in self._buckets.items()
            if bucket.level + (now - bucket.at) * limits.key_rate >= limits.key_burst
        ]
        for key in full:
            del self._buckets[key]

    def _spend(self, key: str, now: float) -> None:
        limits = self._limits
        bucket = self._buckets.setdefault(key, _Bucket(limits.key_burst, now))
        bucket.level = min(limits.key_burst, bucket.level + (now - bucket.at) * limits.key_rate)
        bucket.at = now
        if bucket.level < 1:
            wait = (1 - bucket.level) / limits.key_rate
            raise FreeholdError(
                Kind.RATE,
                "this key begins requests too fast",
                retry_after=max(RETRY_AFTER_S, round(wait + 0.5)),
            )
        bucket.level -= 1
