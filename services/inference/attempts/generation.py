"""The attempts of one worker: taken, run, given out, counted, ended. All on the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable

from services.inference.attempts.admission import Admission, Refusal
from services.inference.attempts.attempt import Attempt, Choice, Outlet, Stream, Work
from services.inference.attempts.tombstones import Tombstones
from services.inference.attempts.usage import Usage
from services.inference.engine import Capabilities
from services.inference.observing import Observer
from services.inference.scheduler import Finish, Job, Step
from services.inference.streams.detokenize import Detokenizer, Texts
from services.inference.worker import Worker
from shared.bus.envelope import Envelope
from shared.host import Host

log = logging.getLogger(__name__)

OnFailed = Callable[[Attempt], None]


class Generation:
    """Takes attempts and brings each to its end, which comes after its usage is durable."""

    def __init__(
        self,
        host: Host,
        worker: Worker,
        usage: Usage,
        admission: Admission,
        capabilities: Capabilities,
        texts: Texts,
        observer: Observer,
        on_failed: OnFailed,
    ) -> None:
        """`on_failed` is called once for each attempt that the engine broke off."""
        self._clock = host.clock
        self._worker = worker
        self._usage = usage
        self._context = capabilities.context
        self._texts = texts
        self._observer = observer
        self._on_failed = on_failed
        self._tombstones = Tombstones(host.clock.monotonic())
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._broken = False
        self.admission = admission

    def attempts(self) -> list[Attempt]:
        """Those that have not ended, or whose usage is not durable yet."""
        return list(self._attempts.values())

    def known(self, request: str, attempt: int) -> bool:
        """Whether this attempt, or a higher one, was seen here."""
        return self._tombstones.seen(request) >= attempt

    def running(self, request: str, attempt: int) -> bool:
        """Whether this attempt is here and has not ended."""
        return (request, attempt) in self._attempts

    def cells_of(self, work: Work) -> int:
        """Worst case of all its choices."""
        return min(self._context, len(work.prompt) + work.most) * len(work.choices)

    def accept(
        self, envelope: Envelope, work: Work, outlet: Outlet, *, diagnostic: bool = False
    ) -> Attempt | Refusal:
        """Take the attempt, or say why not. It was not known before."""
        cells = self.cells_of(work)
        refusal = self.admission.take(len(work.choices), cells)
        if refusal is not None:
            return refusal
        now = self._clock.monotonic()
        self._tombstones.bury(envelope.request, envelope.attempt, now)
        attempt = Attempt(envelope, work, outlet, cells, self._clock.time_ns(), now, diagnostic=diagnostic)
        attempt.traceparent = self._observer.begin(attempt)
        attempt.streams = [self._stream(attempt, choice) for choice in work.choices]
        self._attempts[attempt.key] = attempt
        for stream, choice in zip(attempt.streams, work.choices, strict=True):
            outlet.touch(stream, urgent=False)
            self._worker.submit(
                Job(
                    stream,
                    work.salt,
                    work.prompt,
                    choice.number,
                    choice.prefix,
                    work.sampling,
                    work.seed,
                    work.stops,
                    work.most,
                )
            )
        return attempt

    def _stream(self, attempt: Attempt, choice: Choice) -> Stream:
        tail = Detokenizer(self._texts).skip(choice.prefix) if choice.prefix else ""
        return Stream(attempt, choice.number, len(choice.prefix), tail)

    def cancel(self, envelope: Envelope) -> None:
        """End an attempt that runs; if it was never seen, it is never to run and its usage is nothing.

        Nothing where it runs for another owner than who cancels.
        """
        request, number = envelope.request, envelope.attempt
        attempt = self._attempts.get((request, number))
        if attempt is not None and attempt.envelope.owner != envelope.owner:
            self._observer.foreign()
            log.error("request %s, attempt %d: cancelled by one who does not own it", request, number)
        elif attempt is not None:
            self.abandon(attempt)
        elif not self.known(request, number):
            self._tombstones.bury(request, number, self._clock.monotonic())
            self._usage.never_accepted(envelope)

    def abandon(self, attempt: Attempt) -> None:
        """End every choice that has not ended, within one step."""
        for stream in attempt.streams:
            if stream.finish is None:
                self._worker.cancel(stream)

    def rest(self, attempt: Attempt, held: bool) -> None:
        """Leave the attempt out of the steps, or take it in again."""
        for stream in attempt.streams:
            self._worker.hold(stream, held)

    def on_steps(self, steps: list[Step]) -> None:
        """Give out what the engine's thread brought; nothing once it was given up."""
        if self._broken:
            return
        outlets: dict[Outlet, None] = {}
        now = self._clock.monotonic()
        for step in steps:
            if step.error:
                log.error("the engine failed a step of %d sequences: %s", len(step.ends), step.error)
            self._give(step, now, outlets)
            for end in step.ends:
                stream = end.key
                if isinstance(stream, Stream):
                    stream.finish, stream.generated = end.finish, end.generated
                    stream.attempt.cached = max(stream.attempt.cached, end.cached)
                    self._end(stream.attempt)
            self._observer.step(step)
        for outlet in outlets:
            outlet.poke(now)

    def _give(self, step: Step, now: float, outlets: dict[Outlet, None]) -> None:
        columns = step.columns
        ids, lengths = columns.ids, columns.lengths
        at = 0
        for key, index, count, text in zip(
            columns.streams, columns.indices, columns.counts, columns.texts, strict=True
        ):
            stream: Stream = key  # type: ignore[assignment]
            until = at + count
            stream.take(index, ids[at:until], lengths[at:until], text)
            at = until
            attempt = stream.attempt
            attempt.outlet.touch(stream, urgent=not stream.started)
            outlets[attempt.outlet] = None
            if not stream.started:
                stream.started = True
                if attempt.first is None:
                    attempt.first = now
                    self._observer.first(attempt)

    def _end(self, attempt: Attempt) -> None:
        if not attempt.ended:
            return
        finishes = [stream.finish for stream in attempt.streams]
        broken = (finish for finish in (Finish.FAILED, Finish.CANCELLED) if finish in finishes)
        attempt.finish = next(broken, finishes[-1])
        self.admission.give_back(len(attempt.streams), attempt.cells)
        self._observer.end(attempt)
        if attempt.finish is Finish.FAILED:
            self._on_failed(attempt)
        self._usage.ended(attempt)

    def on_durable(self, attempts: list[Attempt]) -> None:
        """The usage of these attempts is durable: their ends may be told."""
        now = self._clock.monotonic()
        outlets: dict[Outlet, None] = {}
        for attempt in attempts:
            del self._attempts[attempt.key]
            self._observer.durable(attempt)
            outlets[attempt.outlet] = None
            for stream in attempt.streams:
                stream.end = True
                attempt.outlet.touch(stream, urgent=True)
        for outlet in outlets:
            outlet.poke(now)

    def fail_all(self) -> None:
        """The engine's thread is broken, or stuck: what runs has ended with what was given out."""
        self._broken = True
        for attempt in self.attempts():
            if attempt.ended:
                continue
            for stream in attempt.streams:
                if stream.finish is None:
                    stream.finish = Finish.FAILED
                    stream.generated = stream.next_index - stream.first_index
            self._end(attempt)
