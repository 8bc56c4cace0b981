"""What an owner does when a worker fails, is silent or full, and where its requests go on."""

from __future__ import annotations

from dataclasses import replace

from services.edge.answer import Answer
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.inference.v1 import events_pb2 as inference
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamBroken
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.ids import Ids, pack
from tests.integration.owner_script import (
    SEAT,
    WORKER,
    Seen,
    a_frame,
    a_pass,
    a_reservation,
    an_encoding,
    an_end,
    text_of,
    told,
)
from tests.integration.owner_world import World, a_world


async def attempt(world: World, answer: Answer, number: int) -> Seen:
    """The work of this attempt."""
    await world.read()
    (found,) = [
        seen for seen in world.all_of(edge.GenerateTokens, answer.request) if seen.envelope.attempt == number
    ]
    return found


async def test_failed_work_restarts_where_nothing_was_delivered() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.accept(work)
        await world.reply(work.envelope, inference.WorkFailed(reason=inference.FAIL_REASON_ENGINE), attempt=1)
        second = await attempt(world, answer, 2)
        assert second.message.choices[0].from_index == 0
        assert second.message.seed == work.message.seed, "the same random numbers"
        await world.vet(work, 0, "old")
        assert text_of(answer) == "", "the first attempt is fenced"
        await world.vet(second, 0, "new", end=an_end(3))
        assert text_of(answer) == "new"
        closed = await world.closed(answer.request)
        assert [one.accepted for one in closed.attempts] == [edge.ACCEPTED_YES] * 2
        assert [one.choices[0].delivered for one in closed.attempts] == [0, 3]
        assert not closed.resumed


async def test_a_broken_stream_resumes_with_the_ids_that_were_received() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.vet(work, 0, "abc")
        frame = a_frame(work)
        frame.broken.append(StreamBroken(stream=0, reason="moderation restarted"))
        await world.complete(work.envelope, frame)
        second = await attempt(world, answer, 2)
        assert list(second.message.choices[0].ids) == [0, 1, 2]
        assert second.message.choices[0].from_index == 3
        await world.vet(second, 2, "cde", end=an_end(2))
        assert text_of(answer) == "abcde", "the straddling id is cut"
        closed = await world.closed(answer.request)
        assert closed.resumed
        assert [(one.choices[0].from_index, one.choices[0].delivered) for one in closed.attempts] == [
            (0, 3),
            (3, 2),
        ]


async def test_text_that_came_out_because_a_worker_broke_off_is_not_delivered() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.vet(work, 0, "ab")
        await world.vet(work, 2, "held", end=an_end(6, outcome.FINISH_REASON_CANCELLED))
        assert text_of(answer) == "ab"
        second = await attempt(world, answer, 2)
        assert second.message.choices[0].from_index == 2
        await world.vet(second, 2, "cd", end=an_end(2))
        assert text_of(answer) == "cd"


async def test_a_gap_of_2_s_sends_the_request_on() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.vet(work, 0, "ab")
        await world.vet(work, 3, "de")
        await world.advance(1.8)
        assert len(world.all_of(edge.GenerateTokens)) == 1
        await world.advance(0.4)
        assert (await attempt(world, answer, 2)).message.choices[0].from_index == 2


async def test_a_full_worker_gets_nothing_until_its_next_pulse() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        full = inference.WorkRejected(reason=inference.REJECT_REASON_FULL)
        await world.reply(work.envelope, full, attempt=1)
        assert len(world.all_of(edge.GenerateTokens)) == 1
        await world.advance(1.1)
        second = await attempt(world, answer, 2)
        await world.vet(second, 0, "x", end=an_end(1))
        closed = await world.closed(answer.request)
        assert [one.accepted for one in closed.attempts] == [edge.ACCEPTED_NO, edge.ACCEPTED_YES]


async def test_nothing_is_sent_into_a_bus_that_carries_nothing() -> None:
    async with a_world() as world:
        world.load.slots = world.load.free_slots = 1
        await world.advance(1.0)
        first, second = world.submit(), world.submit()
        await world.prepare(first)
        asked = (await world.one(edge.RequestAccepted, second.request)).envelope
        for step in (a_pass(), an_encoding(), a_reservation()):
            await world.reply(asked, step)
        await world.platform.pulses.stop(0)
        await world.advance(4.0)
        first.leave("client_gone")
        await world.advance(10.0)
        assert world.all_of(edge.GenerateTokens, second.request) == [], (
            "there is room, and no sign of the bus"
        )
        await world.platform.pulses.start()
        await world.advance(1.2)
        await attempt(world, second, 1)


async def test_a_silent_worker_is_suspected_and_its_request_waits_for_another() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.accept(work)
        world.alive.discard("inference")
        await world.advance(7)
        assert len(world.all_of(edge.CancelGeneration)) == 1
        assert len(world.all_of(edge.GenerateTokens)) == 1, "no live worker"
        world.alive.add("inference")
        await world.advance(1.2)
        await attempt(world, answer, 2)


async def test_without_a_worker_for_30_s_a_waiting_request_fails() -> None:
    async with a_world() as world:
        answer = world.submit()
        world.alive.discard("inference")
        await world.advance(6)
        asked = (await world.one(edge.RequestAccepted)).envelope
        for step in (a_pass(), an_encoding(), a_reservation()):
            await world.reply(asked, step)
        await world.advance(29)
        assert answer.outcome is None
        await world.advance(1.2)
        assert told(answer).code == "no_worker"


async def test_a_request_larger_than_every_pool_fails() -> None:
    async with a_world() as world:
        world.load.cells = world.load.free_cells = 20
        await world.advance(1)
        answer = world.submit()
        asked = (await world.one(edge.RequestAccepted)).envelope
        await world.reply(asked, a_pass())
        await world.reply(asked, an_encoding(6))
        await world.reply(asked, a_reservation())
        await world.advance(1.1)
        assert told(answer).code == "too_many_cells"


async def test_answers_of_another_worker_than_the_attempts_have_no_effect() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        for said in (
            inference.WorkFailed(reason=inference.FAIL_REASON_ENGINE),
            inference.WorkRejected(reason=inference.REJECT_REASON_MODEL),
            inference.WorkAccepted(weights_digest="other"),
        ):
            await world.reply(work.envelope, said, attempt=1, sender=WORKER + 1)
        assert len(world.all_of(edge.GenerateTokens)) == 1
        await world.vet(work, 0, "fine", end=an_end(4))
        assert text_of(answer) == "fine"


async def test_running_reports_lose_and_end_what_nobody_holds() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        stranger = Ids(world.clock, world.platform.host.random).request()
        report = inference.Running(seat=SEAT, work_offset=work.offset + 1)
        report.attempts.add(request=pack(stranger), attempt=2, produced=3)
        report.attempts.add(request=pack(answer.request), attempt=1, produced=3)
        bundle = replace(work.envelope, request="", attempt=0)
        await world.reply(bundle, report)
        assert world.all_of(edge.CancelGeneration) == [], "its cancel may be on its way"
        await world.reply(bundle, report)
        await world.reply(bundle, report)
        cancel = await world.one(edge.CancelGeneration)
        assert (cancel.envelope.request, cancel.envelope.attempt) == (stranger, 2)
        assert (cancel.partition, cancel.envelope.to) == (SEAT, WORKER)
        empty = inference.Running(seat=SEAT, work_offset=work.offset + 1)
        await world.reply(bundle, empty)
        assert len(world.all_of(edge.GenerateTokens)) == 1
        await world.reply(bundle, empty)
        await attempt(world, answer, 2)
