"""Quotes, balances, entries, usage and checks over real gRPC, by tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from shared.bus.ports import Start
from shared.callers import OPERATOR, Caller
from shared.contracts.freehold.billing.v1 import billing_pb2 as pb
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.rpc.channel import connect
from shared.rpc.server import RpcServer
from tests.integration.billing_life import FACTS, Life, life, requests, take
from tests.unit.billing.world import KEY, MODEL, ORGANISATION, PROJECT, budget

CALLERS = {
    "mine": Caller(KEY, ORGANISATION, PROJECT, frozenset({"usage"})),
    "sibling": Caller("sibling-key", ORGANISATION, "acme-other", frozenset({"usage"})),
    "admin": Caller("admin-key", ORGANISATION, "acme-other", frozenset({"admin"})),
    "stranger": Caller("rival-key", "rival", "rival-web", frozenset({"usage", "admin"})),
    "useless": Caller("useless", ORGANISATION, PROJECT, frozenset({"complete"})),
    "owner": Caller(KEY, ORGANISATION, PROJECT, frozenset({"admin", "operator"})),
    "operator": OPERATOR,
}
TOTAL = 14_640
NOT_FOUND, FORBIDDEN = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
BAD = grpc.StatusCode.INVALID_ARGUMENT

Stubs = dict[str, BillingStub]


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[Life, Stubs, str]]:
    """One settled and one open request of `mine`."""
    async with life(
        home, budget(10**9), budget(10**6, config.LEVEL_KEY, KEY, config.PERIOD_MONTH)
    ) as billing:
        name_projects(billing)
        server = RpcServer(CALLERS.get)
        names = billing.service.register(server.server)
        assert names == ["freehold.billing.v1.Billing"]
        port = await server.start("127.0.0.1:0", names, reflect=False)
        channels = {token: connect(f"127.0.0.1:{port}", token) for token in [*CALLERS, "nobody"]}
        done, waiting = requests(2)
        for request in (done, waiting):
            await billing.reserve(request)
        await billing.answered(2)
        await billing.use(done)
        await billing.close(done)
        await billing.settled(done)
        try:
            yield billing, {token: BillingStub(channel) for token, channel in channels.items()}, done
        finally:
            for channel in channels.values():
                await channel.close()
            await server.stop(0)


def name_projects(billing: Life) -> None:
    known = billing.configuration
    for project, organisation in (
        (PROJECT, ORGANISATION),
        ("acme-other", ORGANISATION),
        ("rival-web", "rival"),
    ):
        known.projects[project] = config.Project(id=project, organisation=organisation)
    for caller in CALLERS.values():
        if caller.organisation:
            known.keys[caller.key] = config.Key(
                id=caller.key, organisation=caller.organisation, project=caller.project
            )
    known.models[MODEL] = config.Model(name=MODEL)
    known.models["unsold"] = config.Model(name="unsold")


async def code_of(call: grpc.aio.UnaryUnaryCall) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code()


async def test_a_quote_is_what_would_be_reserved(home: Path) -> None:
    async with served(home) as (_, stubs, _done):
        asked = pb.QuoteRequest(model=MODEL, prompt=64, max_output=32)
        for token in ("mine", "useless", "operator"):
            quote = await stubs[token].Quote(asked)
            assert (quote.amount, quote.currency, quote.prices.output) == (28_801, "EUR", 600_000)
        assert await code_of(stubs["mine"].Quote(pb.QuoteRequest(model="nothing"))) == NOT_FOUND
        unsold = stubs["mine"].Quote(pb.QuoteRequest(model="unsold"))
        assert await code_of(unsold) == grpc.StatusCode.FAILED_PRECONDITION
        assert await code_of(stubs["nobody"].Quote(asked)) == grpc.StatusCode.UNAUTHENTICATED


async def test_balances_are_of_the_callers_own(home: Path) -> None:
    async with served(home) as (_, stubs, _done):
        own = (await stubs["mine"].GetBalance(pb.GetBalanceRequest())).balances
        assert [(item.level, item.id, item.spent, item.reserved) for item in own] == [
            ("project", PROJECT, TOTAL, 28_801),
            ("key", KEY, TOTAL, 28_801),
        ]
        assert [(item.HasField("limit"), item.limit, item.period) for item in own] == [
            (False, 0, "none"),
            (True, 10**6, "month"),
        ]
        owner = (await stubs["owner"].GetBalance(pb.GetBalanceRequest())).balances
        assert [item.level for item in owner] == ["organisation", "project", "key"]
        whole = (await stubs["admin"].GetBalance(pb.GetBalanceRequest(key=KEY))).balances
        assert [(item.level, item.spent) for item in whole] == [
            ("organisation", TOTAL),
            ("project", TOTAL),
            ("key", TOTAL),
        ]
        assert (await stubs["operator"].GetBalance(pb.GetBalanceRequest(project=PROJECT))).balances == whole[
            :2
        ]
        other = (await stubs["sibling"].GetBalance(pb.GetBalanceRequest())).balances
        assert {item.spent for item in other} == {0}


@pytest.mark.attack(7)
@pytest.mark.parametrize(
    ("token", "fields"),
    [
        ("stranger", {"organisation": ORGANISATION}),
        ("stranger", {"project": PROJECT}),
        ("stranger", {"key": KEY}),
        ("stranger", {"organisation": "rival", "project": PROJECT}),
        ("stranger", {"project": "rival-web", "key": KEY}),
        ("stranger", {"organisation": "nothing"}),
        ("stranger", {"key": "nothing"}),
        ("sibling", {"project": PROJECT}),
        ("sibling", {"key": KEY}),
        ("operator", {"organisation": "nothing"}),
        ("operator", {}),
    ],
)
async def test_anothers_balance_is_as_if_it_were_not_there(
    home: Path, token: str, fields: dict[str, str]
) -> None:
    async with served(home) as (_, stubs, _done):
        call = stubs[token].GetBalance(pb.GetBalanceRequest(**fields))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        asked = "key" if "key" in fields else "project" if "project" in fields else "organisation"
        assert (failure.value.code(), failure.value.details()) == (NOT_FOUND, f"there is no such {asked}")


@pytest.mark.attack(7)
async def test_entries_are_of_the_callers_own(home: Path) -> None:
    async with served(home) as (_, stubs, done):
        for token in ("mine", "admin", "operator"):
            (entry,) = (await stubs[token].ListEntries(pb.ListEntriesRequest())).entries
            assert (entry.request, entry.generated, entry.delivered, entry.billed) == (done, 16, 16, 16)
            assert sum(line.amount for line in entry.lines) == 0
            assert entry.lines[0].account == f"receivable:{ORGANISATION}"
            assert (await stubs[token].ListEntries(pb.ListEntriesRequest(request=done))).entries == [entry]
            assert not (await stubs[token].ListEntries(pb.ListEntriesRequest(before=entry.id))).entries
        for token in ("sibling", "stranger"):
            assert not (await stubs[token].ListEntries(pb.ListEntriesRequest())).entries
            assert not (await stubs[token].ListEntries(pb.ListEntriesRequest(request=done))).entries
        foreign = stubs["stranger"].ListEntries(pb.ListEntriesRequest(organisation=ORGANISATION))
        assert await code_of(foreign) == NOT_FOUND
        assert await code_of(stubs["useless"].ListEntries(pb.ListEntriesRequest())) == FORBIDDEN


async def test_usage_is_summed_by_day_and_model(home: Path) -> None:
    async with served(home) as (_, stubs, _done):
        for token in ("mine", "admin", "owner"):
            (row,) = (await stubs[token].GetUsage(pb.GetUsageRequest())).rows
            assert (row.model, row.currency, row.requests, row.total) == (MODEL, "EUR", 1, TOTAL)
            assert (row.prompt, row.cached, row.generated, row.delivered, row.billed) == (40, 8, 16, 16, 16)
            same = pb.GetUsageRequest(from_day=row.day, to_day=row.day, model=MODEL, project=PROJECT)
            assert (await stubs[token].GetUsage(same)).rows == [row]
            for other in ({"model": "other"}, {"from_day": "2999-01-01"}, {"to_day": "1999-01-01"}):
                assert not (await stubs[token].GetUsage(pb.GetUsageRequest(**other))).rows
        assert not (await stubs["sibling"].GetUsage(pb.GetUsageRequest())).rows
        for token, organisation in (("stranger", ORGANISATION), ("stranger", "nothing")):
            call = stubs[token].GetUsage(pb.GetUsageRequest(organisation=organisation))
            assert await code_of(call) == NOT_FOUND
        assert await code_of(stubs["sibling"].GetUsage(pb.GetUsageRequest(project=PROJECT))) == NOT_FOUND
        assert await code_of(stubs["mine"].GetUsage(pb.GetUsageRequest(from_day="1.1.26"))) == BAD
        assert await code_of(stubs["operator"].GetUsage(pb.GetUsageRequest())) == BAD


async def test_only_admins_and_operators_check_the_ledger(home: Path) -> None:
    async with served(home) as (_, stubs, _done):
        for token in ("admin", "operator"):
            checks = (await stubs[token].VerifyLedger(pb.VerifyLedgerRequest())).checks
            assert len(checks) == 7
            assert all(check.passed and check.examined and not check.violations for check in checks)
        mine = stubs["mine"].VerifyLedger(pb.VerifyLedgerRequest())
        assert await code_of(mine) == FORBIDDEN
        foreign = stubs["stranger"].VerifyLedger(pb.VerifyLedgerRequest(organisation=ORGANISATION))
        assert await code_of(foreign) == NOT_FOUND


async def test_facts_are_published_again_for_an_operator(home: Path) -> None:
    async with served(home) as (billing, stubs, done):
        facts = await billing.bus.assign([FACTS], Start.END)
        wanted = pb.RepublishFactsRequest(organisation=ORGANISATION, from_seq=1, to_seq=2**64 - 1)
        assert (await stubs["operator"].RepublishFacts(wanted)).published == 1
        (record,) = await take(facts, 1)
        assert RequestSettled.FromString(record.value).request == done
        assert await code_of(stubs["admin"].RepublishFacts(wanted)) == FORBIDDEN
        wanted.from_seq = 2
        assert (await stubs["operator"].RepublishFacts(wanted)).published == 0
