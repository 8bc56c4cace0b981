"""What a request's states ask of their surroundings; the owner carries each out."""

from __future__ import annotations

from typing import NamedTuple

from services.edge.submission import Outcome, Piece


class PublishRequest(NamedTuple):
    """Publish `RequestAccepted`."""


class PublishReserve(NamedTuple):
    """Publish `ReserveBudget`."""


class PublishRedacted(NamedTuple):
    """Publish `PromptRedacted` with the spans of `Screened` replaced."""

    revision: int


class Enqueue(NamedTuple):
    """Wait in the tenant's queue for a seat."""

    first: bool
    """Before the tenant's other requests: an attempt was lost or rejected."""


class Dispatch(NamedTuple):
    """Publish `GenerateTokens` to the seat of the current attempt."""

    attempt: int


class Cancel(NamedTuple):
    """Publish `CancelGeneration` to the attempt's seat until acknowledged."""

    attempt: int


class Deliver(NamedTuple):
    """Put a piece into the answer's buffer; its text fits into the room that the event named."""

    piece: Piece


class Finish(NamedTuple):
    """Tell the transport how it ended; at most once, before `Close`."""

    outcome: Outcome


class Close(NamedTuple):
    """Publish `RequestClosed` until acknowledged and forget the request; exactly once, at the end."""


Effect = (
    PublishRequest | PublishReserve | PublishRedacted | Enqueue | Dispatch | Cancel | Deliver | Finish | Close
)
Effects = tuple[Effect, ...]
NOTHING: Effects = ()
