"""Billing as a process runs it: over a real bus and database, through deaths, repetitions and rubbish."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from shared.bus.envelope import parse_envelope
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_YES, ReserveBudget
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import (
    TERMINAL_STATE_CANCELLED,
    RequestFailed,
    RequestRefused,
)
from shared.telemetry import parse_traceparent
from shared.telemetry.trace import SpanRow
from tests.integration.billing_life import Life, life, requests, take, until
from tests.unit.billing.world import MODEL, PROJECT, budget, closed, usage

WORST = 28_801


async def open_requests(billing: Life) -> int:
    ((count,),) = await billing.rows("SELECT COUNT(*) FROM requests WHERE state <> 'settled'")
    return int(count)


async def test_a_request_is_reserved_settled_and_told_of_in_its_own_trace(home: Path) -> None:
    async with life(home, budget(10**9)) as billing:
        (request,) = requests(1)
        trace = billing.telemetry.recorder("edge").root(sampled=True)
        await billing.reserve(request, trace)
        answer, value = (await billing.answered(1))[request]
        reserved = BudgetReserved.FromString(value)
        assert (reserved.amount, reserved.limited, reserved.prices.output) == (WORST, True, 600_000)
        assert (answer.type, answer.to, answer.owner) == ("BudgetReserved", *[billing.host.incarnation] * 2)
        await billing.use(request)
        await billing.close(request, trace=trace)
        envelope, fact = (await billing.settled(request))[request]
        assert (fact.seq, fact.request, fact.money.reserved, fact.tokens.billed) == (1, request, WORST, 16)
        reserve, settle = await spans(billing, request, 2)
        assert (reserve.name, settle.name) == ("billing reserve", "billing settle")
        for span, traceparent in ((reserve, answer.traceparent), (settle, envelope.traceparent)):
            assert span.context == parse_traceparent(traceparent)
            assert (span.context.trace_id, span.parent) == (trace.trace_id, trace.span_id)
            assert span.links == ()  # it was alone in its batch
            attributes = dict(span.attributes)
            assert len(span.attributes) <= 8
            assert 0 < attributes["freehold.database.duration"] < 60
            assert 0 < attributes["freehold.publish.duration"] < 60
        await billing.verified()


async def spans(billing: Life, request: str, count: int) -> list[SpanRow]:
    async def recorded() -> bool:
        return len(billing.spans(request)) == count

    await until(recorded)
    return billing.spans(request)


async def test_an_unsampled_request_makes_no_span(home: Path) -> None:
    async with life(home) as billing:
        (request,) = requests(1)
        trace = billing.telemetry.recorder("edge").root(sampled=False)
        await billing.reserve(request, trace)
        answer, _ = (await billing.answered(1))[request]
        assert parse_traceparent(answer.traceparent) == trace
        assert billing.spans(request) == []


@pytest.mark.attack(23)
async def test_of_two_hundred_racing_requests_ten_pass_and_nothing_is_overspent(home: Path) -> None:
    async with life(home, budget(10 * WORST)) as billing:
        racing = requests(200)
        await asyncio.gather(*(billing.reserve(request) for request in racing))
        answers = await billing.answered(200)
        passed = [request for request, (envelope, _) in answers.items() if envelope.type == "BudgetReserved"]
        refused = [
            RequestRefused.FromString(value)
            for envelope, value in answers.values()
            if envelope.type == "RequestRefused"
        ]
        assert (len(passed), len(refused)) == (10, 190)
        assert {answer.code for answer in refused} == {"insufficient_quota"}
        assert await billing.rows("SELECT spent + reserved FROM budgets") == [(10 * WORST,)]
        for request in passed:
            await billing.use(request)
            await billing.close(request)
        facts = [fact for _, fact in (await billing.settled(*passed)).values()]
        assert sorted(fact.seq for fact in facts) == list(range(1, 11))
        spent = sum(fact.money.total for fact in facts)
        assert await billing.rows("SELECT spent, reserved FROM budgets") == [(spent, 0)]
        assert spent <= 10 * WORST
        await billing.verified()


async def test_redelivered_reserves_get_their_first_answer(home: Path) -> None:
    async with life(home, budget(WORST)) as billing:
        first, second = requests(2)
        for request in (first, second):
            await billing.reserve(request)
        before = await billing.answered(2)
        await asyncio.gather(*(billing.reserve(request) for request in (second, first)))
        assert await billing.answered(2) == before
        assert [before[request][0].type for request in (first, second)] == [
            "BudgetReserved",
            "RequestRefused",
        ]


async def test_a_close_before_its_reserve(home: Path) -> None:
    async with life(home, budget(10**9)) as billing:
        (request,) = requests(1)
        await billing.close(request, closed(TERMINAL_STATE_CANCELLED, ()))
        _, fact = (await billing.settled(request))[request]
        assert fact.money.total == 0
        await billing.reserve(request)
        envelope, value = (await billing.answered(1))[request]
        assert (envelope.type, RequestFailed.FromString(value).code) == ("RequestFailed", "already_closed")
        await billing.verified()


@pytest.mark.attack(46)
async def test_rubbish_is_parked_or_answered_and_stops_nothing(home: Path) -> None:
    async with life(home) as billing:
        good, bad = requests(2)
        await billing.publish("reserves", ReserveBudget(project=PROJECT, model=MODEL), bad, tenant="")
        await billing.publish("reserves", UsageRecorded(), bad)
        await billing.reserve(good)
        answers = [
            (parse_envelope(record.headers).type, record.value) for record in await take(billing.answers, 3)
        ]
        codes = [RequestFailed.FromString(value).code for kind, value in answers if kind == "RequestFailed"]
        assert (len(answers), codes) == (3, ["failed", "failed"])
        await billing.publish("usage", UsageRecorded(), "no-uuid")
        await billing.publish("usage", closed(), good)
        await billing.publish("closed", closed(9), good)  # type: ignore[arg-type]
        await billing.publish("closed", closed(), good.upper())
        await billing.use(good)
        await billing.close(good)
        await billing.settled(good)
        assert len(await billing.rows("SELECT * FROM parked")) == 4
        assert billing.service.readiness().ready
        await billing.verified()


async def test_a_reserve_waits_for_the_configuration_that_its_owner_knew(home: Path) -> None:
    async with life(home) as billing:
        (request,) = requests(1)
        price = billing.configuration.prices[f"{MODEL}.EUR"]
        price.output = 1_000_000
        await billing.reserve(request, config_offset=billing.configuration.offset + 1)
        await billing.bus.publish("config", price.SerializeToString(), key=f"price/{MODEL}.EUR".encode())
        _, value = (await billing.answered(1))[request]
        assert BudgetReserved.FromString(value).prices.output == 1_000_000


async def test_after_a_kill_what_was_open_has_lost_its_owner(tmp_path: Path) -> None:
    died, reborn = tmp_path / "died", tmp_path / "reborn"
    async with life(died, budget(10**9)) as billing:
        generating, silent, closing, done = requests(4)
        for request in (generating, silent, closing, done):
            await billing.reserve(request)
        await billing.answered(4)
        await billing.use(generating)
        await billing.use(done)
        await billing.close(done)
        await billing.settled(done)
        await billing.close(closing)  # its worker's usage never comes

        async def seen() -> bool:
            rows = await billing.rows("SELECT state FROM requests ORDER BY state")
            usages = await billing.rows("SELECT * FROM usages")
            return [state for (state,) in rows] == ["closed", *["reserved"] * 2, "settled"] and len(
                usages
            ) == 2

        await until(seen)
        shutil.copytree(died, reborn)  # the disk as a kill would leave it: nothing was closed or flushed
    async with life(reborn, budget(10**9)) as billing:
        told = await billing.settled(generating, silent, closing)
        facts = {request: told[request][1] for request in (generating, silent, closing)}
        assert [facts[request].owner_lost for request in (generating, silent, closing)] == [True, True, False]
        assert facts[closing].usage_missing
        assert facts[generating].tokens.generated == 16
        assert facts[generating].money.total == 0
        assert facts[generating].money.operator_cost == 9_600
        assert sorted(fact.seq for fact in facts.values()) == [2, 3, 4]
        ((spent, reserved),) = await billing.rows("SELECT spent, reserved FROM budgets")
        assert (reserved, spent) == (0, (await billing.rows("SELECT SUM(billed) FROM requests"))[0][0])
        await billing.verified()


async def test_a_fact_that_was_settled_and_not_published_is_published_by_the_next_life(
    tmp_path: Path,
) -> None:
    died, reborn = tmp_path / "died", tmp_path / "reborn"
    async with life(died) as billing:
        joined, swept = requests(2)
        for request in (joined, swept):
            await billing.reserve(request)
        await billing.answered(2)
        await billing.use(joined)
        billing.bus.broken = frozenset({"facts"})
        await billing.close(joined)
        billing.clock.ahead_s = 200

        async def settled() -> bool:
            return await open_requests(billing) == 0

        await until(settled)
        shutil.copytree(died, reborn)
    async with life(reborn) as billing:
        told = await billing.settled(joined, swept)
        assert [told[request][1].owner_lost for request in (joined, swept)] == [False, True]
        await billing.verified()


async def test_a_reservation_expires_by_the_logs_time_and_a_late_close_changes_nothing(
    home: Path,
) -> None:
    async with life(home, budget(10**9), sole_process=False, sweep_period_s=60) as billing:
        (request,) = requests(1)
        await billing.reserve(request)
        await billing.answered(1)
        billing.clock.ahead_s = 120
        assert await billing.swept() == 0
        billing.clock.ahead_s = 200
        assert await billing.swept() == 1
        _, fact = (await billing.settled(request))[request]
        assert (fact.owner_lost, fact.closed.code) == (True, "owner_lost")
        await billing.use(request)
        await billing.close(request)
        _, again = (await billing.settled(request))[request]
        assert again == fact

        async def late() -> bool:
            return len(await billing.rows("SELECT * FROM late")) == 2

        await until(late)
        await billing.verified()


async def test_while_billing_lags_behind_the_log_nothing_expires(home: Path) -> None:
    async with life(home, sole_process=False, sweep_period_s=60) as billing:
        (request,) = requests(1)
        await billing.reserve(request)
        await billing.answered(1)
        billing.bus.broken = frozenset({"facts"})
        blocker = requests(1)[0]
        await billing.close(blocker, closed(TERMINAL_STATE_CANCELLED, ()))  # settled, but never finished
        await billing.close(
            request, closed(attempts=[(1, ACCEPTED_YES, 0, 16)])
        )  # behind it in the same partition
        billing.clock.ahead_s = 10**4
        assert await billing.swept() == 0
        ((state,),) = await billing.rows(f"SELECT state FROM requests WHERE request = '{request}'")  # noqa: S608
        assert state == "reserved"
        billing.bus.broken = frozenset()

        async def swept() -> bool:
            return await billing.swept() == 1

        await until(swept)
        assert not (await billing.settled(blocker, request))[request][1].owner_lost


async def test_facts_that_the_bus_did_not_take_follow_later(home: Path) -> None:
    async with life(home) as billing:
        (request,) = requests(1)
        await billing.reserve(request)
        await billing.answered(1)
        billing.bus.broken = frozenset({"facts"})
        await billing.use(request, usage())
        await billing.close(request)

        async def settled() -> bool:
            return await open_requests(billing) == 0

        await until(settled)
        billing.bus.broken = frozenset()
        await billing.settled(request)
        await billing.verified()
