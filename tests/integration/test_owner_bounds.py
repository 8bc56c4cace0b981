"""Keys that end, bounds on what is in flight, fairness, slow readers, and the end of the owner."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.edge.answer import Answer, Principal
from services.edge.owner.admission import Limits
from services.edge.owner.dispatching import PATIENCE_S
from services.edge.owner.owner import OwnerSettings
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from tests.integration.owner_script import (
    PRINCIPAL,
    a_pass,
    a_reservation,
    a_submission,
    an_encoding,
    an_end,
    text_of,
    told,
)
from tests.integration.owner_world import a_world


@pytest.mark.parametrize("how", ["revoked", "expired", "removed", "project", "organisation"])
async def test_a_key_that_ends_cuts_its_streams_within_2_s(how: str) -> None:
    async with a_world() as world:
        answer = world.submit()
        other = world.submit(principal=replace(PRINCIPAL, key="key-2"))
        work = await world.prepare(answer)
        await world.vet(work, 0, "ab")
        key = config.Key(id="key-1", organisation="ministry", project="archive")
        soon = world.clock.time_ns() + 500_000_000
        if how == "revoked":
            key.revoked = True
        if how == "expired":
            key.expires_ns = soon
        if how in ("project", "organisation"):
            await world.configure(
                how,
                {"project": "archive", "organisation": "ministry"}[how],
                config.Project(id="archive", organisation="ministry", disabled=True)
                if how == "project"
                else config.Organisation(id="ministry", currency="EUR", disabled=True),
            )
        else:
            await world.configure("key", "key-1", None if how == "removed" else key)
        await world.advance(1.9)
        assert told(answer).kind is Kind.CANCELLED
        assert len(world.all_of(edge.CancelGeneration)) == 1
        assert (await world.closed(answer.request)).code == "key_revoked"
        assert (other.outcome is None) == (how not in ("project", "organisation"))


async def test_bounds_on_what_is_in_flight() -> None:
    settings = OwnerSettings(limits=Limits(in_flight=3, tenant_part=1.0))
    async with a_world(settings) as world:
        few = replace(PRINCIPAL, key="key-2", max_in_flight=1)
        first = world.submit(principal=few)
        assert world.refused(few).kind is Kind.RATE
        world.submit()
        world.submit()
        assert world.refused().kind is Kind.OVERLOADED
        registry = world.platform.telemetry.registry
        for code in ("overloaded", "rate_limit_exceeded"):
            assert registry.get_sample_value("freehold_edge_not_taken_total", {"code": code}) == 1
        first.leave("client_gone")
        world.submit(principal=few)


@pytest.mark.parametrize(
    ("principal", "kind"),
    [
        (replace(PRINCIPAL, models=frozenset({"other"})), Kind.MODEL_UNKNOWN),
        (replace(PRINCIPAL, organisation="nobody"), Kind.PRICE_MISSING),
    ],
)
async def test_what_cannot_be_served_is_not_taken(principal: Principal, kind: Kind) -> None:
    async with a_world() as world:
        assert world.refused(principal).kind is kind


async def test_a_flooding_tenant_waits_behind_itself() -> None:
    async with a_world() as world:
        await world.configure("organisation", "bank", config.Organisation(id="bank", currency="EUR"))
        await world.configure("project", "till", config.Project(id="till", organisation="bank"))
        await world.configure("key", "key-3", config.Key(id="key-3", organisation="bank", project="till"))
        world.load.slots = world.load.free_slots = 1
        await world.advance(1.1)
        flood = [world.submit() for _ in range(4)]
        quiet = world.submit(principal=replace(PRINCIPAL, key="key-3", organisation="bank", project="till"))
        for answer in (*flood, quiet):
            asked = (await world.one(edge.RequestAccepted, answer.request)).envelope
            for step in (a_pass(), an_encoding(), a_reservation()):
                await world.reply(asked, step)
        order = []
        for _ in range(5):
            work = world.all_of(edge.GenerateTokens)[-1]
            order.append(work.envelope.request)
            await world.vet(work, 0, "a", end=an_end(1))
        assert order.index(quiet.request) <= 2, "one of the flood's runs, one had its turn before"
        assert sorted(order) == sorted(answer.request for answer in (*flood, quiet))


async def test_an_organisation_is_served_by_its_share() -> None:
    async with a_world() as world:
        await world.configure(
            "organisation", "bank", config.Organisation(id="bank", currency="EUR", share=300)
        )
        await world.configure("project", "till", config.Project(id="till", organisation="bank"))
        await world.configure("key", "key-3", config.Key(id="key-3", organisation="bank", project="till"))
        world.load.slots = world.load.free_slots = 1
        await world.advance(1.1)
        bank = replace(PRINCIPAL, key="key-3", organisation="bank", project="till")
        answers = [world.submit(principal=who) for _ in range(8) for who in (PRINCIPAL, bank)]
        for answer in answers:
            asked = (await world.one(edge.RequestAccepted, answer.request)).envelope
            for step in (a_pass(), an_encoding(), a_reservation()):
                await world.reply(asked, step)
        order = []
        for _ in range(9):
            work = world.all_of(edge.GenerateTokens)[-1]
            order.append(work.envelope.tenant)
            await world.vet(work, 0, "a" * 20, end=an_end(20))
        assert order[1:].count("bank") in (5, 6, 7), "three of four"


async def test_a_large_request_is_neither_starved_nor_in_the_way_for_ever() -> None:
    async with a_world() as world:
        world.load.cells = world.load.free_cells = 100
        await world.advance(1.1)

        async def ready(output: int) -> Answer:
            answer = world.submit(replace(a_submission(max_output=output)))
            asked = (await world.one(edge.RequestAccepted, answer.request)).envelope
            for step in (a_pass(), an_encoding(), a_reservation()):
                await world.reply(asked, step)
            return answer

        def begun(answer: Answer) -> bool:
            return bool(world.all_of(edge.GenerateTokens, answer.request))

        first = await ready(20)
        large = await ready(90)
        assert begun(first)
        assert not begun(large)
        small = await ready(20)
        assert begun(small), "what fits overtakes"
        world.load.free_slots, world.load.free_cells = 2, 48
        await world.advance(PATIENCE_S + 0.5)
        late = await ready(20)
        assert not begun(late), "what comes free is kept for the large one now"
        for answer in (first, small):
            await world.vet(await world.one(edge.GenerateTokens, answer.request), 0, "ab", end=an_end(2))
        world.load.free_slots, world.load.free_cells = 4, 100
        await world.advance(1.1)
        assert begun(large)
        await world.vet(await world.one(edge.GenerateTokens, large.request), 0, "ab", end=an_end(2))
        assert begun(late)


async def test_who_leaves_while_it_waits_costs_nothing() -> None:
    async with a_world() as world:
        world.load.slots = world.load.free_slots = 1
        await world.advance(1.1)
        answers = [world.submit() for _ in range(3)]
        for answer in answers:
            asked = (await world.one(edge.RequestAccepted, answer.request)).envelope
            for step in (a_pass(), an_encoding(), a_reservation()):
                await world.reply(asked, step)
        running, gone, waiting = answers
        gone.leave("client_gone")
        closed = await world.closed(gone.request)
        assert closed.state == outcome.TERMINAL_STATE_CANCELLED
        assert not closed.attempts, "no worker heard of it"
        await world.vet(await world.one(edge.GenerateTokens, running.request), 0, "a", end=an_end(1))
        assert {seen.envelope.request for seen in world.all_of(edge.GenerateTokens)} == {
            running.request,
            waiting.request,
        }


async def test_what_would_wait_too_long_is_refused_at_once_and_told_when_to_return() -> None:
    async with a_world() as world:
        world.load.slots = world.load.free_slots = 1
        await world.advance(1.1)

        async def ready() -> Answer:
            answer = world.submit()
            asked = (await world.one(edge.RequestAccepted, answer.request)).envelope
            for step in (a_pass(), an_encoding(), a_reservation()):
                await world.reply(asked, step)
            return answer

        first = await ready()
        await world.advance(4.0)
        await world.vet(await world.one(edge.GenerateTokens, first.request), 0, "a" * 20, end=an_end(20))
        await ready()
        error = world.refused()
        assert error.kind is Kind.OVERLOADED
        assert 0 < error.retry_after <= 20
        batch = replace(PRINCIPAL, priority=config.PRIORITY_BATCH)
        world.submit(principal=batch)


async def test_a_reader_that_takes_nothing_is_cut() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        block = "é" * 1000
        for number in range(140):
            await world.vet(work, number * 1000, block)
            if answer.outcome:
                break
        assert told(answer).kind is Kind.CANCELLED
        assert len(text_of(answer).encode()) == 131 * 2000
        closed = await world.closed(answer.request)
        assert closed.code == "slow_reader"
        assert closed.attempts[0].choices[0].delivered == 131_000


# The end of the owner


async def test_a_stop_takes_nothing_new_and_closes_everything() -> None:
    async with a_world() as world:
        running = world.submit()
        work = await world.prepare(running)
        await world.vet(work, 0, "ab")
        waiting = world.submit()
        await world.stop(4.0)
        assert told(running).kind is Kind.NOT_READY
        assert told(waiting).code == "shutting_down"
        states = {seen.envelope.request: seen.message.state for seen in world.all_of(edge.RequestClosed)}
        assert states == {
            running.request: outcome.TERMINAL_STATE_FAILED,
            waiting.request: outcome.TERMINAL_STATE_FAILED,
        }
        assert len(world.all_of(edge.CancelGeneration)) == 1
        assert world.refused().kind is Kind.NOT_READY
