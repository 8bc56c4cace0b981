"""Records in the name of somebody whose request it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestFailed
from tests.integration.billing_life import life, requests, until
from tests.unit.billing.world import closed, usage


@pytest.mark.attack(46)
async def test_who_does_not_own_a_request_neither_closes_it_nor_learns_of_it(home: Path) -> None:
    async with life(home) as billing:
        (request,) = requests(1)
        await billing.reserve(request)
        await billing.answered(1)
        await billing.publish("closed", closed(), request, owner=99)
        await billing.publish("closed", closed(), request, tenant="somebody")
        await billing.publish("usage", usage(), request, tenant="somebody")
        await billing.reserve(request, tenant="somebody")
        envelope, value = (await billing.answered(1))[request]
        failed = RequestFailed.FromString(value)
        assert (envelope.type, envelope.tenant, failed.code) == ("RequestFailed", "somebody", "failed")

        async def parked() -> bool:
            return len(await billing.rows("SELECT * FROM parked")) == 3

        await until(parked)
        await billing.use(request)
        await billing.close(request)
        fact = (await billing.settled(request))[request][1]
        assert fact.tokens.billed > 0
        assert len(await billing.rows("SELECT * FROM entries")) == 1
        await billing.verified()


@pytest.mark.attack(46)
async def test_a_usage_of_what_was_never_reserved_is_parked_and_counts_for_nobody(home: Path) -> None:
    """Work is sent once its reservation is durable, so what comes before has been made up."""
    async with life(home) as billing:
        (request,) = requests(1)
        await billing.publish("usage", usage(generated=0), request, tenant="somebody")

        async def parked() -> bool:
            return len(await billing.rows("SELECT * FROM parked")) == 1

        await until(parked)
        await billing.reserve(request)
        await billing.answered(1)
        await billing.use(request)
        await billing.close(request)
        fact = (await billing.settled(request))[request][1]
        assert fact.tokens.billed == 16
        await billing.verified()
