"""What an owner does when something around it fails, leaves, or says what it should not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.bus.ports import Start, TopicPartition
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from tests.integration.owner_script import (
    a_frame,
    a_pass,
    a_reservation,
    a_submission,
    an_encoding,
    an_end,
    text_of,
    told,
)
from tests.integration.owner_world import a_world

# The owner itself


async def test_an_owner_that_stood_still_hears_first_and_then_looks_what_is_late() -> None:
    async with a_world() as world:
        heard, lost = world.submit(), world.submit()
        asked = (await world.one(edge.RequestAccepted, heard.request)).envelope
        world.clock.leap(30.0)
        await world.advance(0.2)
        for step in (a_pass(), an_encoding(), a_reservation()):
            await world.reply(asked, step)
        work = await world.one(edge.GenerateTokens, heard.request)
        await world.vet(work, 0, "fine", end=an_end(4))
        assert text_of(heard) == "fine"
        assert lost.outcome is None
        await world.advance(1.2)
        assert told(lost).code == "preparation_late"


# The other services


@pytest.mark.parametrize("service", ["moderation", "tokenizer", "billing", "inference"])
async def test_a_service_without_pulse_means_503_at_once(service: str) -> None:
    async with a_world() as world:
        world.alive.discard(service)
        await world.advance(6)
        error = world.refused()
        assert error.kind is Kind.NOT_READY
        assert error.retry_after >= 1
        world.alive.add(service)
        await world.advance(1.2)
        world.submit()


async def test_records_for_another_incarnation_are_skipped() -> None:
    async with a_world() as world:
        answer = world.submit()
        asked = (await world.one(edge.RequestAccepted)).envelope
        failed = outcome.RequestFailed(stage="moderation")
        await world.reply(asked, failed, owner=99)
        headers = replace(asked, type="RequestFailed", to=99).headers()
        await world.bus.publish("replies", b"", headers, partition=asked.lane)
        await world.read()
        assert answer.outcome is None
        work = await world.prepare(answer)
        await world.vet(work, 0, "not for you", owner=99)
        assert text_of(answer) == ""


@pytest.mark.attack(46)
@pytest.mark.parametrize("value", [b"", b"\xff\xff"])
async def test_answers_in_another_tenants_name_have_no_effect_and_are_set_aside(value: bytes) -> None:
    async with a_world() as world:
        answer = world.submit()
        dead = await world.bus.assign(
            [TopicPartition("dlq", number) for number in range(world.bus.partitions("dlq"))], Start.END
        )
        asked = (await world.one(edge.RequestAccepted)).envelope
        for tenant in ("somebody", ""):
            headers = replace(asked, type="RequestFailed", to=asked.owner, tenant=tenant).headers()
            await world.bus.publish("replies", value, headers, partition=asked.lane)
        await world.read()
        found = [record for records in (await dead.poll(10, 1.0)).values() for record in records]
        assert [record.value for record in found] == [value, value]
        await dead.close()
        work = await world.prepare(answer)
        await world.vet(work, 0, "fine", end=an_end(4))
        assert text_of(answer) == "fine"


async def test_an_answer_that_cannot_be_decoded_fails_its_request_and_is_set_aside() -> None:
    async with a_world() as world:
        answer = world.submit()
        dead = await world.bus.assign(
            [TopicPartition("dlq", number) for number in range(world.bus.partitions("dlq"))], Start.END
        )
        asked = (await world.one(edge.RequestAccepted)).envelope
        headers = replace(asked, type="Screened", to=asked.owner).headers()
        await world.bus.publish("replies", b"\xff\xff", headers, partition=asked.lane)
        await world.read()
        assert told(answer).kind is Kind.FAILED
        ((record,),) = (await dead.poll(10, 1.0)).values()
        assert record.value == b"\xff\xff"
        await dead.close()


async def test_a_frame_whose_columns_do_not_fit_stops_nothing_else() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        frame = a_frame(work)
        frame.frame.text_stream.append(0)
        frame.frame.text_index.append(0)
        frame.frame.text_count.append(5)
        frame.frame.text.append("hello")
        await world.complete(work.envelope, frame)
        await world.bus.publish("completions", b"\xff", (), partition=work.envelope.lane)
        await world.bus.publish("replies", b"\xff", (("owner", b"x"),), partition=work.envelope.lane)
        await world.vet(work, 0, "fine", end=an_end(4))
        assert text_of(answer) == "fine"


async def test_a_bus_without_room_is_503_and_the_request_is_closed() -> None:
    async with a_world(cap_bytes=40_000) as world:
        answer = world.submit(a_submission("x" * 60_000))
        assert told(answer).kind is Kind.FAILED
        closed = await world.closed(answer.request)
        assert closed.state == outcome.TERMINAL_STATE_FAILED
        assert closed.code == "not_acknowledged"
