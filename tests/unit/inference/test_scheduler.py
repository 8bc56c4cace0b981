"""The scheduler: what a step holds, when jobs begin and end, and that no id is lost or repeated."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engine import EngineError, Part, Sampling, Vocabulary
from services.inference.output import Columns
from services.inference.scheduler import LEAST_PREFILL, End, Finish, Job, Scheduler, Step
from services.inference.synthetic import SyntheticEngine

VOCABULARY = Vocabulary((*(bytes([octet]) for octet in range(256)), b""), frozenset({256}))
GREEDY = Sampling()


class RecordingEngine(SyntheticEngine):
    """Counts what it is given, and fails or ends sequences when told."""

    def __init__(self, **sizes: int) -> None:
        defaults = {"context": 512, "cells": 2_048, "sequences": 12, "batch": 128}
        super().__init__(VOCABULARY, words=range(97, 123), **{**defaults, **sizes})
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


def test_one_job_has_all_its_ids() -> None:
    engine = RecordingEngine()
    got = Collected().run(Scheduler(engine, 4, 64))
    scheduler = Scheduler(engine, 4, 64)
    scheduler.submit(job("a"))
    got = Collected().run(scheduler)
    assert len(got.ids["a"]) == 8
    assert got.ends["a"] == End("a", Finish.LENGTH, 8, 0)
    assert len(got.text["a"]) == 8


def test_running_jobs_go_on_while_a_prompt_is_taken_in_by_pieces() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 4, 32)
    scheduler.submit(job("short", most=40))
    scheduler.step()
    scheduler.submit(job("long", prompt=100, salt=b"other"))
    before = len(engine.batches)
    Collected().run(scheduler)
    taking_in = [batch for batch in engine.batches[before:] if any(key == "long" for key, _, _ in batch)]
    pieces = [count for batch in taking_in for key, _, count in batch if key == "long" and count > 1]
    assert pieces == [31, 31, 31, 7]
    assert all(batch[0][0] == "short" for batch in taking_in[: len(pieces)])


def test_prompts_are_not_starved_by_many_running_jobs() -> None:
    engine = RecordingEngine(sequences=60, cells=8_192)
    scheduler = Scheduler(engine, 50, 20)
    for number in range(40):
        scheduler.submit(job(number, prompt=1, most=100, salt=bytes([number])))
    scheduler.step()
    scheduler.submit(job("late", prompt=3 * LEAST_PREFILL, most=1))
    got = Collected()
    for _ in range(3):
        got.take(scheduler.step())
    assert got.ends["late"].generated == 1


def test_no_more_jobs_run_than_there_are_slots() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 2, 64)
    for number in range(5):
        scheduler.submit(job(number))
    got = Collected().run(scheduler)
    assert max(len(batch) for batch in engine.batches) == 2
    assert {end.generated for end in got.ends.values()} == {8}
    assert list(got.ends) == [0, 1, 2, 3, 4]


def test_a_job_waits_for_cells() -> None:
    engine = RecordingEngine(cells=512)
    scheduler = Scheduler(engine, 4, 64)
    scheduler.submit(job("big", prompt=200, most=200))
    scheduler.submit(job("second", prompt=100, most=100))
    scheduler.step()
    assert {key for key, _, _ in engine.batches[-1]} == {"big"}
    got = Collected().run(scheduler)
    assert got.ends["second"].generated == 100


def test_a_cancelled_job_is_in_no_further_step() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 4, 64)
    scheduler.submit(job("a", most=100))
    scheduler.submit(job("b", most=100))
    got = Collected()
    for _ in range(5):
        got.take(scheduler.step())
    got.take(scheduler.cancel("a"))
    steps = len(engine.batches)
    got.run(scheduler)
    assert all(key != "a" for batch in engine.batches[steps:] for key, _, _ in batch)
    assert got.ends["a"] == End("a", Finish.CANCELLED, 5, 0)
    assert len(got.ids["a"]) == 5
    assert scheduler.cancel("a").ends == []


def test_a_cancelled_job_that_waited_generated_nothing() -> None:
    scheduler = Scheduler(RecordingEngine(), 1, 64)
    scheduler.submit(job("a"))
    scheduler.submit(job("b"))
    scheduler.step()
    assert scheduler.cancel("b").ends == [End("b", Finish.CANCELLED, 0, 0)]


def test_what_a_stop_held_back_comes_out_on_cancel() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 1, 64)
    scheduler.submit(job("plain"))
    plain = Collected().run(scheduler)
    first = plain.text["plain"][0]
    scheduler.submit(job("held", stops=(first + "!",)))
    got = Collected()
    got.take(scheduler.step())
    assert "held" not in got.ids
    got.take(scheduler.cancel("held"))
    assert got.ids["held"] == plain.ids["plain"][:1]
    assert got.text["held"] == first


def test_the_end_token_ends_and_is_counted() -> None:
    engine = RecordingEngine()
    engine.end_at = {"a": 3}
    scheduler = Scheduler(engine, 1, 64)
    scheduler.submit(job("a"))
    got = Collected().run(scheduler)
    assert got.ends["a"] == End("a", Finish.STOP, 4, 0)
    assert got.ids["a"][-1] == 256
    assert len(got.text["a"]) == 3


def test_a_stop_ends_and_its_ids_are_counted() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 1, 64)
    scheduler.submit(job("whole"))
    whole = Collected().run(scheduler)
    text = whole.text["whole"]
    scheduler.submit(job("cut", stops=(text[3:5],)))
    got = Collected().run(scheduler)
    end = text.index(text[3:5]) + 2
    assert got.text["cut"] == text[: end - 2]
    assert got.ids["cut"] == whole.ids["whole"][:end]
    assert got.ends["cut"].generated == end


@given(st.integers(0, 8), st.integers(0, 2**64 - 1))
def test_a_resumed_job_goes_on_as_if_never_broken_off(cut: int, seed: int) -> None:
    scheduler = Scheduler(RecordingEngine(), 1, 64)
    scheduler.submit(job("whole", seed=seed))
    whole = Collected().run(scheduler)
    scheduler.submit(job("rest", seed=seed, prefix=whole.ids["whole"][:cut]))
    rest = Collected().run(scheduler)
    assert whole.ids["whole"][:cut] + rest.ids.get("rest", []) == whole.ids["whole"]
    assert rest.ends["rest"].generated == 8 - cut
    assert rest.ends["rest"].finish is Finish.LENGTH


@pytest.mark.parametrize(
    ("prefix", "stops", "finish"), [((97, 256), (), Finish.STOP), ((97, 98, 99), ("bc",), Finish.STOP)]
)
def test_a_prefix_that_had_ended_ends_at_once(
    prefix: tuple[int, ...], stops: tuple[str, ...], finish: Finish
) -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 1, 64)
    scheduler.submit(job("a", prefix=prefix, stops=stops))
    got = Collected().run(scheduler)
    assert got.ends["a"] == End("a", finish, 0, 0)
    assert engine.batches == []


def test_the_context_bounds_a_chain() -> None:
    scheduler = Scheduler(RecordingEngine(context=40), 1, 64)
    scheduler.submit(job("a", prompt=30, most=500))
    assert Collected().run(scheduler).ends["a"] == End("a", Finish.LENGTH, 10, 0)


def test_a_prompt_seen_before_is_shared_within_the_tenant() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 2, 128)
    for key, salt in (("first", b"t"), ("same", b"t"), ("other", b"u")):
        scheduler.submit(job(key, prompt=64, salt=salt))
        got = Collected().run(scheduler)
        assert got.ends[key].cached == (48 if key == "same" else 0)
    prefilled = [batch[0][2] for batch in engine.batches if batch[0][2] > 1]
    assert prefilled == [64, 16, 64]


def test_a_failed_step_ends_its_jobs_and_the_next_ones_run() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 2, 64)
    scheduler.submit(job("a"))
    scheduler.step()
    engine.fail_next = True
    step = scheduler.step()
    assert step.error == "out of luck"
    assert step.ends == [End("a", Finish.FAILED, 1, 0)]
    scheduler.submit(job("b"))
    assert Collected().run(scheduler).ends["b"].generated == 8
    assert scheduler.pool.free + 16 >= scheduler.pool.cells


def test_a_held_job_rests_until_it_is_let_go() -> None:
    engine = RecordingEngine()
    scheduler = Scheduler(engine, 2, 64)
    scheduler.submit(job("a"))
    scheduler.step()
    scheduler.hold("a", True)
    assert not scheduler.busy
    scheduler.hold("a", False)
    assert Collected().run(scheduler).ends["a"].generated == 8


def test_an_engine_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="slots"):
        Scheduler(RecordingEngine(sequences=4), 4, 64)
    with pytest.raises(ValueError, match="pool"):
        Scheduler(RecordingEngine(context=4_096), 4, 64)


jobs = st.lists(
    st.tuples(st.integers(1, 90), st.integers(1, 30), st.sampled_from([b"a", b"b"]), st.integers(0, 40)),
    min_size=1,
    max_size=10,
)


@given(jobs, st.integers(1, 5), st.integers(1, 64))
def test_any_mix_of_jobs_ends_complete_and_leaves_the_pool_whole(
    mix: list[tuple[int, int, bytes, int]], slots: int, budget: int
) -> None:
    engine = RecordingEngine(context=128, cells=256)
    scheduler = Scheduler(engine, slots, budget)
    got = Collected()
    cancel_at: dict[int, list[int]] = {}
    for number, (prompt, most, salt, cancel) in enumerate(mix):
        scheduler.submit(job(number, prompt=prompt, most=most, salt=salt))
        cancel_at.setdefault(cancel, []).append(number)
    for step in range(1_000):
        for number in cancel_at.get(step, ()):
            if step < 20:
                got.take(scheduler.cancel(number))
        if not scheduler.busy:
            break
        got.take(scheduler.step())
    assert set(got.ends) == set(range(len(mix)))
    for number, (prompt, most, _, _) in enumerate(mix):
        end = got.ends[number]
        assert len(got.ids.get(number, [])) == end.generated
        if end.finish is Finish.LENGTH:
            assert end.generated == min(most, 128 - prompt)
    scheduler.pool.clear()
    assert scheduler.pool.free == scheduler.pool.cells
