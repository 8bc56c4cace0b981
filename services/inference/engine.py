"""The port to a device: batches of tokens of many sequences in, one id for each sequence that wants one out.

Contract of every engine, kept by `tests/contract/test_engine.py`:

- ids are complete and in order: a part with a draw yields exactly one id, parts in the order given;
- a sequence that is removed is gone before the next step: cancelling takes one step at most;
- a draw depends on the logits and on (seed, choice, index) alone, so that a sequence that is resumed
  elsewhere goes on with the same random numbers;
- `copy` shares cells and costs none; cells are freed when the last sequence that holds them is removed.

An engine is used by one thread at a time and never by the event loop's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class EngineError(Exception):
    """A step failed, and all sequences of its batch with it; the engine itself may go on."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an id is drawn from logits. Temperature 0 takes the largest and ignores the rest."""

    temperature: float = 0.0
    top_k: int = 0
    """0 = all."""
    top_p: float = 1.0
    min_p: float = 0.0


class Part:
    """Tokens that a step adds to one sequence, and whether it then yields an id.

    A scheduler keeps one part per sequence and changes it from step to step.
    """

    __slots__ = ("choice", "draws", "ids", "index", "key", "position", "sampling", "seed", "sequence")

    def __init__(self, key: object, sequence: int, sampling: Sampling, seed: int, choice: int) -> None:
        self.key = key
        """Who asked; engines pass it by."""
        self.sequence = sequence
        """Number below `Capabilities.sequences`."""
        self.position = 0
        """Of the first of `ids`; the sequence holds exactly the positions below."""
        self.ids: Sequence[int] = ()
        self.draws = False
        """Whether an id is drawn after the last of `ids`."""
        self.sampling = sampling
        self.seed = seed
        self.choice = choice
        self.index = 0
        """Of the id to draw, from the beginning of the chain."""


class Vocabulary(NamedTuple):
    """What ids mean."""

    pieces: tuple[bytes, ...]
    """Bytes of each id; empty for control tokens, which are never text."""
    end: frozenset[int]
    """Ids that end a generation."""


class Capabilities(NamedTuple):
    """Sizes of an engine; they do not change."""

    context: int
    """Most tokens of one sequence."""
    cells: int
    """Tokens that all sequences together may hold."""
    sequences: int
    """Sequence numbers, for running and for kept ones together."""
    batch: int
    """Most tokens of one step."""
    step_seconds: float
    """Least time between the beginnings of two steps; 0 for engines that are as fast as they can."""


class Engine(Protocol):
    """One model on one device."""

    capabilities: Capabilities
    vocabulary: Vocabulary

    def step(self, parts: Sequence[Part]) -> list[int]:
        """Add the parts' ids to their sequences and draw: one id for each part with `draws`, in order.

        At most `batch` ids in all. Raises EngineError.
        """

    def copy(self, source: int, target: int, length: int) -> None:
        """Let the empty sequence `target` hold the first `length` positions of `source`."""

    def remove(self, sequence: int, start: int = 0) -> None:
        """Take the positions from `start` on away from the sequence."""

    def close(self) -> None:
        """Release the device. No call after this one."""
