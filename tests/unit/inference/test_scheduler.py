"""The scheduler: what a step holds, when jobs run, wait, fail and are cancelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.scheduler import LEAST_PREFILL, End, Finish, Scheduler
from tests.unit.inference.scheduler_world import Collected, RecordingEngine, job


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
