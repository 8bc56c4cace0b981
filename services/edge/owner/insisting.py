"""Records that are sent until the bus acknowledges them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from shared.bus.ports import Acknowledged, BusError, Headers, Position, Publisher, RecordTooLarge

log = logging.getLogger(__name__)


class Letter(NamedTuple):
    """One record to publish."""

    topic: str
    value: bytes
    headers: Headers
    key: bytes | None = None
    partition: int | None = None


def post(
    bus: Publisher,
    letter: Letter,
    acknowledged: Callable[[Position], None],
    failed: Callable[[BusError], None],
) -> None:
    """Publish, and call one of the two, perhaps at once; without a task of its own."""
    try:
        sent = bus.publish(
            letter.topic, letter.value, letter.headers, key=letter.key, partition=letter.partition
        )
    except BusError as error:
        failed(error)
        return
    if isinstance(sent, Acknowledged):
        acknowledged(sent.position)
        return

    def settle(future: asyncio.Future[Position]) -> None:
        if future.cancelled():
            failed(BusError("the publication was cancelled"))
        elif (error := future.exception()) is None:
            acknowledged(future.result())
        elif isinstance(error, BusError):
            failed(error)
        else:
            raise error

    asyncio.ensure_future(sent).add_done_callback(settle)


class Insistence:
    """Sends again at every `retry` what the bus did not acknowledge; the records have no time to live.

    A record that the bus calls too large can never be acknowledged: it is logged and given up.
    """

    def __init__(self, bus: Publisher) -> None:
        self._bus = bus
        self._failed: list[Letter] = []
        self._flying = 0

    def __len__(self) -> int:
        """How many are not acknowledged."""
        return self._flying + len(self._failed)

    def send(self, letter: Letter) -> None:
        """Publish now, and again until acknowledged."""
        self._flying += 1

        def acknowledged(_: Position) -> None:
            self._flying -= 1

        def failed(error: BusError) -> None:
            self._flying -= 1
            if isinstance(error, RecordTooLarge):
                log.error("a record of %s is too large and is lost: %s", letter.topic, error)
                return
            self._failed.append(letter)

        post(self._bus, letter, acknowledged, failed)

    def retry(self) -> None:
        """Send again what failed."""
        failed, self._failed = self._failed, []
        for letter in failed:
            self.send(letter)
