"""Continuous batching over an engine: which tokens of which sequences the next step holds (pure).

One step gives every running sequence its next id and spends what is left of the token budget on
prompts, oldest first. Work begins when a slot is free; its worst case of cells was set aside by
`admission.py`, so a sequence that runs never waits for cells.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from services.inference.cells import Pool
from services.inference.engine import Engine, EngineError, Part, Sampling
from services.inference.streams.detokenize import Texts
from services.inference.streams.output import Columns, Output

LEAST_PREFILL = 16
"""Prompt tokens that a step takes in however many sequences run: prompts are never starved."""


class Finish(Enum):
    """Why a choice ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One choice of one attempt."""

    key: object
    """The stream that it belongs to; comes back with everything that is given out."""
    salt: bytes
    prompt: Sequence[int]
    choice: int
    prefix: Sequence[int]
    """Ids that the choice already has; the chain goes on behind them."""
    sampling: Sampling
    seed: int
    stops: Sequence[str]
    most: int
    """Upper bound of the chain, the prefix included."""


BROKEN_OFF = (Finish.CANCELLED, Finish.FAILED)
"""The chain may go on elsewhere: half a code point, or the beginning of a stop, is not its last text."""


class End(NamedTuple):
    """A choice that ended; everything it gave out came before."""

    key: object
    finish: Finish
    generated: int
    """Ids that the engine drew for this job."""
    cached: int
    """Tokens of the prompt that were shared, without any prefix."""


class Step(NamedTuple):
    """What a step brought."""

    columns: Columns
    ends: list[End]
    prefilled: int = 0
    """Tokens of prompts and prefixes that the engine took in."""
    drawn: int = 0
    error: str = ""
    """The engine's, where the step failed; the jobs of its batch are among the ends."""


class _Running:
    """A job with a sequence."""

    __slots__ = ("cached", "filled", "generated", "ids", "job", "output", "part", "room")

    def __init__(self, job: Job, output: Output, sequence: int, shared: int, room: int) -> None:
        self.job = job
        self.output = output
        self.ids = [*job.prompt, *job.prefix]
        """Prompt and chain; the id drawn last is not in the cells yet."""
        self.filled = shared
        """How many of `ids` are in the cells."""
        self.generated = 0
        self.cached = min(shared, len(job.prompt))
        self.room = room
        """Most ids, prompt included."""
        self.part = Part(job.key, sequence, job.sampling, job.seed, job.choice)


class Scheduler:
    """Jobs in, ids out. Used by one thread: the engine's."""

    def __init__(self, engine: Engine, slots: int, prefill_tokens: int, texts: Texts | None = None) -> None:
        """`prefill_tokens` bounds a step: what running sequences leave of it goes to prompts.

        Raises ValueError where the engine is too small for the slots.
        """
        sizes = engine.capabilities
        if sizes.sequences <= slots or sizes.batch < slots + LEAST_PREFILL:
            raise ValueError(
                f"{slots} slots do not fit {sizes.sequences} sequences, batches of {sizes.batch}"
            )
        if sizes.context > sizes.cells:
            raise ValueError(f"a context of {sizes.context} does not fit a pool of {sizes.cells} cells")
        self._engine = engine
        self._texts = texts or Texts(engine.vocabulary.pieces)
        self._end = engine.vocabulary.end
        self._context = sizes.context
        self._slots = slots
        self._budget = min(prefill_tokens, sizes.batch)
        self.pool = Pool(engine, sizes.cells, sizes.sequences)
        self._reserved = 0
        self._waiting: deque[Job] = deque()
        self._running: dict[object, _Running] = {}
        self._held: set[object] = set()

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting) or len(self._running) > len(self._held)

    def submit(self, job: Job) -> None:
        """Take a job: its prompt is not empty and fits context and pool, its ids are of the vocabulary."""
        self._waiting.append(job)

    def hold(self, key: object, held: bool) -> None:
        """Leave a running job out of the steps, or take it in again."""
        if not held:
            self._held.discard(key)
        elif key in self._running:
            self._held.add(key)

    def cancel(self, key: object) -> Step:
        """End the job of this key, if it has not ended; what it held back is not given out."""
        out = Step(Columns(), [])
        running = self._running.get(key)
        if running is not None:
            self._finish(running, Finish.CANCELLED, out)
        for job in [job for job in self._waiting if job.key == key]:
            self._waiting.remove(job)
            out.ends.append(End(job.key, Finish.CANCELLED, 0, 0))
        return out

    def step(self) -> Step:
        """Begin what can begin, run the engine once, give out."""
        out = Step(Columns(), [])
        while self._waiting and len(self._running) < self._slots and self._fits(self._waiting[0]):
            self._begin(self._waiting.popleft(), out)
        batch, prefilled = self._plan()
        if not batch:
            return out
        try:
            drawn = self._engine.step([running.part for running in batch])
        except EngineError as error:
            for running in batch:
                self._finish(running, Finish.FAILED, out)
            self.pool.clear()
            return out._replace(error=str(error))
        ids = iter(drawn)
        for running in batch:
            running.filled += len(running.part.ids)
            if running.part.draws:
                self._take(running, next(ids), out)
        return out._replace(prefilled=prefilled, drawn=len(drawn))

    def _need(self, job: Job) -> int:
        return min(self._context, len(job.prompt) + job.most)

    def _fits(self, job: Job) -> bool:
        """Whether the worst case of all that runs leaves room for the worst case of this job."""
        return not self._running or self._reserved + self._need(job) <= self.pool.cells

    def _begin(self, job: Job, out: Step) -> None:
        output = Output(job.key, self._texts, job.stops, job.prefix)
        prefix = job.prefix
        if output.ended_by_prefix() or (prefix and prefix[-1] in self._end):
            out.ends.append(End(job.key, Finish.STOP, 0, 0))
            return
        room = self._need(job)
        if len(prefix) >= job.most or len(job.prompt) + len(prefix) >= room:
            out.ends.append(End(job.key, Finish.LENGTH, 0, 0))
            return
        lease = self.pool.open(job.salt, [*job.prompt, *prefix])
        self._reserved += room
        self._running[job.key] = _Running(job, output, lease.sequence, lease.shared, room)

    def _plan(self) -> tuple[list[_Running], int]:
        """The running jobs of the next step, their parts made ready, and how many tokens are prefill."""
        batch: list[_Running] = []
        filling: list[_Running] = []
        for key, running in self._running.items():
            if key in self._held:
                continue
            if running.filled + 1 == len(running.ids):
                self._extend(running, 1)
                batch.append(running)
            else:
                filling.append(running)
        left = max(LEAST_PREFILL, self._budget - len(batch))
        prefilled = 0
        for running in filling:
            count = min(len(running.ids) - running.filled, left - prefilled)
            if not count:
                break
            self._extend(running, count)
            batch.append(running)
            prefilled += count
        return batch, prefilled

    def _extend(self, running: _Running, count: int) -> None:
        """Let the next step add the next `count` ids of the job to its sequence."""
        part = running.part
        ids, filled = running.ids, running.filled
        self.pool.grow(part.sequence, count)
        part.position = filled
        part.ids = ids[filled : filled + count]
        part.draws = filled + count == len(ids)
        part.index = len(ids) - len(running.job.prompt)

    def _take(self, running: _Running, token: int, out: Step) -> None:
        """Add a drawn id to its chain, give out what can be, end what has ended."""
        if not running.generated:
            self.pool.publish(running.part.sequence, running.ids)
        running.ids.append(token)
        running.generated += 1
        stopped = running.output.push(token, out.columns)
        if stopped or token in self._end:
            self._finish(running, Finish.STOP, out)
        elif len(running.ids) >= running.room:
            self._finish(running, Finish.LENGTH, out)

    def _finish(self, running: _Running, finish: Finish, out: Step) -> None:
        if finish not in BROKEN_OFF:
            running.output.finish(out.columns)
        key = running.job.key
        keep = finish is not Finish.FAILED
        self.pool.close(running.part.sequence, running.ids[: running.filled], keep)
        self._reserved -= running.room
        del self._running[key]
        self._held.discard(key)
        out.ends.append(End(key, finish, running.generated, running.cached))
