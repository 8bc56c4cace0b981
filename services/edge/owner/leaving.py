"""How transports tell the owner that a client is done."""

from __future__ import annotations

from typing import Protocol


class Exits(Protocol):
    """The owner, as an answer knows it. Requests that have ended are ignored."""

    def left(self, request: str, reason: str) -> None:
        """The client is gone, or reads too slowly."""

    def sent(self, request: str) -> None:
        """A plain answer's body was handed over whole."""
