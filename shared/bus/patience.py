"""How long a consumer puts up with what, and the pauses between its attempts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Self

from shared.bus.observer import Observer
from shared.bus.ports import BusError, RecordTooLarge
from shared.host import Host
from shared.storage.database import DatabaseError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, unless said otherwise."""

    backoff: float = 0.05
    """First pause after a fault; doubled with each until `backoff_most`."""
    backoff_most: float = 2.0
    unready_after: float = 20.0
    """A fault that lasts so long fails the readiness."""
    later: float = 10.0
    """How long a handler may say `Later` of the same records."""
    fuse: int = 100
    """Records in a row, with none handled between, that may fail by errors that no handler foresaw."""
    revoke: float = 5.0
    """How long partitions that are taken away may drain."""


def surroundings_failed(error: Exception) -> bool:
    """Whether the bus or the database is at fault, so that trying again can help."""
    return isinstance(error, (BusError, DatabaseError)) and not isinstance(error, RecordTooLarge)


class Faults:
    """The faults of the surroundings that last, so that readiness can tell of them."""

    def __init__(self, host: Host, patience: Patience, observer: Observer) -> None:
        self._host = host
        self._patience = patience
        self._observer = observer
        self._lasting: dict[Backoff, tuple[float, str]] = {}

    def reason(self) -> str:
        """Why the consumer is not ready, in words; empty where no fault lasts too long."""
        since, words = min(self._lasting.values(), default=(0.0, ""))
        lasted = self._host.clock.monotonic() - since
        return f"{words}, for {lasted:.0f} s" if words and lasted >= self._patience.unready_after else ""

    def note(self, backoff: Backoff, what: str, error: Exception) -> None:
        """An attempt failed by the surroundings."""
        self._observer.fault(what)
        if backoff not in self._lasting:
            log.warning("%s waits: %s", what, error)
            self._lasting[backoff] = (self._host.clock.monotonic(), f"{what} waits: {error}")

    def over(self, backoff: Backoff) -> None:
        """The attempts have ended, one way or the other."""
        self._lasting.pop(backoff, None)

    def backoff(self, what: str) -> Backoff:
        """The pauses between attempts at one thing, such as a topic; used as a context."""
        return Backoff(self, self._host, self._patience, what)


class Backoff:
    """Pauses that grow, with a part by chance so that replicas do not march in step."""

    def __init__(self, faults: Faults, host: Host, patience: Patience, what: str) -> None:
        self._faults = faults
        self._host = host
        self._what = what
        self._next = self._first = patience.backoff
        self._most = patience.backoff_most

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._faults.over(self)

    def reset(self) -> None:
        """An attempt has succeeded; another fault begins anew."""
        if self._next != self._first:
            self._next = self._first
            self._faults.over(self)

    async def wait(self, error: Exception) -> None:
        """Pause before the next attempt."""
        if surroundings_failed(error):
            self._faults.note(self, self._what, error)
        pause, self._next = self._next, min(self._next * 2, self._most)
        await self._host.clock.sleep(pause * (0.5 + self._host.random.random() / 2))
