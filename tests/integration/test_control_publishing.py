"""What control stores, everybody gets: through the outbox, whatever happens between."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from shared.bus.envelope import parse_envelope
from shared.callers import OPERATOR
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.contracts.freehold.control.v1 import control_pb2 as rpc
from shared.storage.database import DatabaseError
from tests.integration.control_world import VALUES, ControlWorld, values_of
from tests.integration.stepped_clock import until


@pytest.fixture
async def world(home: Path) -> AsyncIterator[ControlWorld]:
    made = ControlWorld(home)
    yield made
    await made.close()


def project(name: str) -> pb.Project:
    return pb.Project(id="web", organisation="acme", name=name)


async def test_what_is_put_reaches_everybody_who_reads_the_configuration(world: ControlWorld) -> None:
    await world.open()
    await world.put_all()
    await world.in_step()
    assert len([value for kind in values_of(world.configuration).values() for value in kind]) == len(VALUES)
    assert world.platform.config.readiness().ready
    assert world.service.readiness().ready


async def test_a_restart_publishes_everything_and_then_a_marker_of_a_higher_epoch(
    world: ControlWorld,
) -> None:
    await world.open()
    await world.put_all()
    await world.in_step()
    before = world.configuration.offset
    await world.close()
    await world.open()
    await until(lambda: world.configuration.epoch == 2)
    again = [record for record in await world.records("config") if record.offset >= before]
    assert {(record.key or b"").partition(b"/")[0] for record in again[:-1]} == {
        b"organisation",
        b"project",
        b"policy",
        b"price",
        b"budget",
        b"model",
    }
    assert len(again) == len(VALUES) + 1
    assert again[-1].key == b"marker/control"
    assert pb.Marker.FromString(again[-1].value).epoch == 2
    assert values_of(world.configuration) == values_of(world.keeper.known)
    assert len(await world.facts()) == len(VALUES), "nothing has changed"


async def test_what_was_committed_and_not_published_is_published_by_the_next_life(
    world: ControlWorld,
) -> None:
    await world.open(cut_off=True)
    await world.put_all()
    await until(lambda: not world.service.readiness().ready)
    assert "cut off" in world.service.readiness().reason
    assert await world.stored("project", "web") == VALUES[3].SerializeToString()
    world.bus.refuses = False
    assert not await world.facts()
    await world.close()
    await world.open()
    await world.in_step()
    await until(lambda: world.configuration.epoch == 2)
    facts = await world.facts()
    assert [fact.seq for fact in facts] == list(range(1, len(VALUES) + 1))


async def test_a_bus_that_was_cut_off_gets_everything_once_it_is_back(world: ControlWorld) -> None:
    await world.open()
    world.bus.refuses = True
    await world.put_all()
    await until(lambda: not world.service.readiness().ready)
    world.bus.mend()
    await world.clock.advance(1)
    await world.in_step()
    await until(lambda: world.service.readiness().ready)
    assert [fact.seq for fact in await world.facts()] == list(range(1, len(VALUES) + 1))


async def test_each_change_is_one_fact_without_gap_and_with_both_digests(world: ControlWorld) -> None:
    await world.open()
    await world.put_all()
    versions = [
        await world.keeper.put(project(name), OPERATOR, approver="second pair of eyes") for name in ("a", "b")
    ]
    assert versions == [2, 3]
    await world.in_step()
    facts = await world.facts()
    assert [fact.seq for fact in facts] == list(range(1, len(VALUES) + 3))
    mine = [fact for fact in facts if (fact.kind, fact.id) == ("project", "web")]
    encoded = [value.SerializeToString() for value in (VALUES[3], project("a"), project("b"))]
    digests = [b"", *(hashlib.sha256(value).digest() for value in encoded)]
    assert [(fact.version, fact.digest_before, fact.digest_after) for fact in mine] == [
        (n + 1, digests[n], digests[n + 1]) for n in range(3)
    ]
    assert {fact.organisation for fact in mine} == {"acme"}
    assert [fact.approver for fact in mine] == ["", "second pair of eyes", "second pair of eyes"]
    assert {fact.who for fact in facts} == {OPERATOR.key}
    assert mine[0].changed_ns == world.clock.time_ns()


async def test_an_unchanged_value_changes_nothing(world: ControlWorld) -> None:
    await world.open()
    await world.put_all()
    await world.in_step()
    facts, offset = len(await world.facts()), world.configuration.offset
    assert [await world.keeper.put(value, OPERATOR) for value in VALUES] == [1] * len(VALUES)
    await world.keeper.put(project("changed"), OPERATOR)
    await world.in_step()
    assert len(await world.facts()) == facts + 1
    assert world.configuration.offset == offset + 1


async def test_racing_changes_of_one_value_are_made_one_after_the_other(world: ControlWorld) -> None:
    await world.open()
    await world.put_all()
    names = [f"name {number}" for number in range(20)]
    versions = await asyncio.gather(*(world.keeper.put(project(name), OPERATOR) for name in names))
    assert sorted(versions) == list(range(2, 22))
    await world.in_step()
    facts = [fact for fact in await world.facts() if (fact.kind, fact.id) == ("project", "web")]
    for before, after in pairwise(facts):
        assert after.digest_before == before.digest_after
    last = world.configuration.projects["web"]
    assert hashlib.sha256(last.SerializeToString()).digest() == facts[-1].digest_after
    await world.close()
    await world.open()
    await world.in_step()
    assert world.keeper.known.projects["web"] == last


async def test_a_caller_who_goes_away_leaves_what_is_known_in_step_with_what_is_stored(
    world: ControlWorld,
) -> None:
    await world.open()
    await world.put_all()
    for turns in range(15):
        asking = asyncio.ensure_future(world.keeper.put(project(f"asked {turns}"), OPERATOR))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await world.keeper.close(world.clock.monotonic() + 60)
    await world.in_step()
    stored = await world.stored("project", "web")
    assert world.keeper.known.projects["web"].SerializeToString() == stored
    assert world.configuration.projects["web"].SerializeToString() == stored


async def test_a_database_that_fails_leaves_everything_as_it_was(world: ControlWorld) -> None:
    await world.open()
    await world.put_all()
    await world.database.close()
    with pytest.raises(DatabaseError):
        await world.keeper.put(project("lost"), OPERATOR)
    assert world.keeper.known.projects["web"].name == ""


async def test_markers_of_one_life_have_one_epoch_and_come_every_half_minute(world: ControlWorld) -> None:
    await world.open()
    await until(lambda: (world.configuration.epoch, world.configuration.offset) == (1, 1))
    for marker in range(3):
        await world.clock.advance(30)
        await until(lambda expected=marker + 2: world.configuration.offset == expected)  # type: ignore[misc]
    assert world.configuration.epoch == 1


async def test_facts_are_published_again_when_asked(world: ControlWorld) -> None:
    await world.open()
    await world.put_all()
    await world.in_step()
    stub = world.stub()
    answer = await stub.RepublishFacts(rpc.RepublishFactsRequest(from_seq=2, to_seq=4))
    assert answer.published == 3
    answer = await stub.RepublishFacts(rpc.RepublishFactsRequest(from_seq=len(VALUES), to_seq=9000))
    assert answer.published == 1
    await world.in_step()
    expected = [*range(1, len(VALUES) + 1), 2, 3, 4, len(VALUES)]
    records = await world.records("facts")
    ids = [parse_envelope(record.headers).event_id for record in records]
    assert ids == [f"change/{seq}" for seq in expected]
    first = {record.headers: record.value for record in records[: len(VALUES)]}
    assert all(first[record.headers] == record.value for record in records[len(VALUES) :])
