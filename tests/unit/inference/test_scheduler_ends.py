"""Where a chain of ids ends, and where a resumed one goes on: no id is lost or repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.scheduler import End, Finish, Scheduler
from tests.unit.inference.scheduler_world import Collected, RecordingEngine, job


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


def test_what_a_stop_held_back_does_not_come_out_where_the_job_is_broken_off() -> None:
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
    assert "held" not in got.ids, "the chain may go on elsewhere, and the stop with it"
    assert (got.ends["held"].finish, got.ends["held"].generated) == (Finish.CANCELLED, 1)


def test_half_a_code_point_does_not_come_out_where_the_job_is_broken_off() -> None:
    scheduler = Scheduler(RecordingEngine(words=(0xC3,)), 1, 64)
    scheduler.submit(job("half"))
    got = Collected()
    got.take(scheduler.step())
    got.take(scheduler.cancel("half"))
    assert got.text == {}
    assert got.ends["half"].generated == 1


def test_a_resumed_job_finishes_the_code_point_that_its_prefix_began() -> None:
    scheduler = Scheduler(RecordingEngine(words=(0xA9,)), 1, 64)
    scheduler.submit(job("half", prefix=(97, 0xC3), most=3))
    assert Collected().run(scheduler).text["half"] == "é"


def test_the_context_bounds_a_chain() -> None:
    scheduler = Scheduler(RecordingEngine(context=40), 1, 64)
    scheduler.submit(job("a", prompt=30, most=500))
    assert Collected().run(scheduler).ends["a"] == End("a", Finish.LENGTH, 10, 0)


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
