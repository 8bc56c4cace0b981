"""Attempts that were seen, so that none runs twice and a late cancel finds nothing to do (pure)."""

KEEP_S = 900.0
MOST = 131_072
"""Requests in one of the two generations: memory stays below 40 MB at any rate of requests."""


class Tombstones:
    """The highest attempt seen of each request, for 15 minutes or more.

    Two generations, of which the older is dropped as a whole: nothing is done per request to forget it.
    Above 145 requests a second a generation fills before its time and the promise is its 131,072 requests.
    """

    __slots__ = ("_begun", "_new", "_old")

    def __init__(self, now: float) -> None:
        self._new: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._begun = now

    def seen(self, request: str) -> int:
        """The highest attempt seen; 0 = none."""
        return max(self._new.get(request, 0), self._old.get(request, 0))

    def bury(self, request: str, attempt: int, now: float) -> None:
        """This attempt and all lower ones are never to run from now on."""
        if now - self._begun >= KEEP_S or len(self._new) >= MOST:
            self._old, self._new, self._begun = self._new, {}, now
        self._new[request] = max(attempt, self.seen(request))
