"""What a consumer tells about itself; metrics are bound to it where a service is wired."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called once a batch or less, on the event loop; must not raise."""

    def handled(self, topic: str, records: int) -> None:
        """A batch had its effect."""

    def stale(self, topic: str, records: int) -> None:
        """Records were older than their `ttl_ms` and dropped."""

    def dead_lettered(self, topic: str) -> None:
        """A transit record went to `dlq`: an alarm."""

    def parked(self, topic: str) -> None:
        """A record of a record topic was parked by the service: an alarm."""

    def kept_last_good(self, topic: str) -> None:
        """A value of a config topic was not understood and left aside: an alarm."""

    def fault(self, topic: str) -> None:
        """The bus or the database failed a batch, which will be tried again."""

    def lag(self, topic: str, records: int) -> None:
        """Records between what is finished and the end of the topic, every few seconds."""


class Unobserved:
    """An `Observer` that tells nobody."""

    def handled(self, topic: str, records: int) -> None: ...

    def stale(self, topic: str, records: int) -> None: ...

    def dead_lettered(self, topic: str) -> None: ...

    def parked(self, topic: str) -> None: ...

    def kept_last_good(self, topic: str) -> None: ...

    def fault(self, topic: str) -> None: ...

    def lag(self, topic: str, records: int) -> None: ...
