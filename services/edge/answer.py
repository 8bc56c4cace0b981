"""The seam between a request's owner and whoever holds the client: vetted pieces one way, leaving the other.

The owner puts pieces in and never waits for a socket; a transport takes all that is ready at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.edge.submission import Outcome, Piece, Principal, Submission

__all__ = ["BUFFER_BYTES", "Answer", "Outcome", "Piece", "Principal", "Submission"]

BUFFER_BYTES = 256 * 1024
"""Text that may wait for one client; more means that its reader is too slow."""


@dataclass(slots=True)
class Answer:
    """One request's way out. Written by its owner, read by one transport, in one event loop."""

    request: str
    on_leave: Callable[[str], None]
    """Owner's own: called with a reason once the client is gone or was too slow."""
    on_sent: Callable[[], None]
    """Owner's own: a plain answer's body was handed to the transport whole."""
    outcome: Outcome | None = None
    _pieces: list[Piece] = field(default_factory=list)
    _bytes: int = 0
    _waiter: asyncio.Future[None] | None = None

    @property
    def room(self) -> int:
        """Bytes of text that the buffer still takes."""
        return BUFFER_BYTES - self._bytes

    def put(self, piece: Piece) -> bool:
        """Owner: add a piece. False = the buffer is full and the piece was not taken."""
        text = piece.text
        size = len(text) if text.isascii() else len(text.encode())
        if self._bytes + size > BUFFER_BYTES:
            return False
        self._bytes += size
        self._pieces.append(piece)
        self._wake()
        return True

    def finish(self, end: Outcome) -> None:
        """Owner: nothing comes after this; pieces not yet taken stay."""
        self.outcome = end
        self._wake()

    async def ready(self) -> None:
        """Transport: return once there are pieces or the outcome."""
        if self._pieces or self.outcome is not None:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def nudge(self) -> None:
        """Transport: make a `ready` that waits return, though nothing may be there."""
        self._wake()

    def take(self) -> list[Piece]:
        """Transport: all pieces that are ready; they count as out of the buffer."""
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        return pieces

    def leave(self, reason: str) -> None:
        """Transport: the client is gone; the owner cancels what still runs.

        After the outcome it still matters to a plain answer whose body was not sent, and else nothing.
        """
        self.on_leave(reason)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
