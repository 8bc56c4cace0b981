"""Jobs for the scheduler, an engine that records its steps, and all that the steps gave out."""

from collections.abc import Sequence
from dataclasses import replace

from services.inference.engine import EngineError, Part, Sampling, Vocabulary
from services.inference.engines.synthetic import SyntheticEngine
from services.inference.scheduler import End, Job, Scheduler, Step
from services.inference.streams.output import Columns

VOCABULARY = Vocabulary((*(bytes([octet]) for octet in range(256)), b""), frozenset({256}))
GREEDY = Sampling()


class RecordingEngine(SyntheticEngine):
    """Counts what it is given, and fails or ends sequences when told."""

    def __init__(self, words: Sequence[int] = range(97, 123), **sizes: int) -> None:
        defaults = {"context": 512, "cells": 2_048, "sequences": 12, "batch": 128}
        super().__init__(VOCABULARY, words=words, **{**defaults, **sizes})
        self.batches: list[list[tuple[object, int, int]]] = []
        self.fail_next = False
        self.end_at: dict[object, int] = {}

    def step(self, parts: Sequence[Part]) -> list[int]:
        self.batches.append([(part.key, part.position, len(part.ids)) for part in parts])
        if self.fail_next:
            self.fail_next = False
            raise EngineError("out of luck")
        drawn = super().step(parts)
        drawing = [part for part in parts if part.draws]
        return [
            256 if self.end_at.get(part.key) == part.index else token
            for part, token in zip(drawing, drawn, strict=True)
        ]


def job(key: object, prompt: int = 20, most: int = 8, **changes: object) -> Job:
    made = Job(key, b"t", range(1, prompt + 1), 0, (), GREEDY, 5, (), most)
    return replace(made, **changes)  # type: ignore[arg-type]


class Collected:
    """What all steps gave out, by stream."""

    def __init__(self) -> None:
        self.ids: dict[object, list[int]] = {}
        self.text: dict[object, str] = {}
        self.ends: dict[object, End] = {}

    def take(self, step: Step) -> None:
        at = 0
        columns: Columns = step.columns
        for stream, index, count, text in zip(
            columns.streams, columns.indices, columns.counts, columns.texts, strict=True
        ):
            held = self.ids.setdefault(stream, [])
            assert stream not in self.ends
            assert index >= len(held)
            held.extend(columns.ids[at : at + count])
            self.text[stream] = self.text.get(stream, "") + text
            at += count
        for end in step.ends:
            assert end.key not in self.ends
            self.ends[end.key] = end

    def run(self, scheduler: Scheduler, most: int = 500) -> "Collected":
        for _ in range(most):
            if not scheduler.busy:
                return self
            self.take(scheduler.step())
        raise AssertionError("the scheduler does not come to an end")
