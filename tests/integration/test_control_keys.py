"""Keys: shown once, stored as a hash, valid until revoked or expired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from shared.callers import OPERATOR, Credentials
from shared.configuration import hash_key
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.contracts.freehold.control.v1 import control_pb2 as rpc
from shared.errors import FreeholdError, Kind
from tests.integration.control_world import PEPPERS, ControlWorld

WEB = pb.Key(organisation="acme", project="web", name="a key", roles=["complete"])


@asynccontextmanager
async def a_world(folder: Path, peppers: Mapping[int, bytes] = PEPPERS) -> AsyncIterator[ControlWorld]:
    world = ControlWorld(folder, peppers)
    try:
        await world.open()
        await world.put_all()
        yield world
    finally:
        await world.close()


def credentials(world: ControlWorld, peppers: Mapping[int, bytes] = PEPPERS) -> Credentials:
    return Credentials(world.configuration, peppers, world.clock)


async def test_a_secret_is_shown_once_and_stored_nowhere(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        stub = world.stub()
        made = await stub.CreateKey(rpc.CreateKeyRequest(key=WEB))
        await world.in_step()
        assert made.secret.startswith("fh-")
        assert len(made.secret) == 55
        listed = (await stub.ListKeys(rpc.ListKeysRequest())).keys
        assert [key.id for key in listed] == [made.key.id]
        assert made.key.hash == listed[0].hash == b""
        stored = pb.Key.FromString(await world.stored("key", made.key.id))
        assert stored.hash == hash_key(made.secret, PEPPERS[1])
        assert (stored.pepper_version, stored.name) == (1, "a key")
        again = await stub.CreateKey(rpc.CreateKeyRequest(key=WEB))
        assert again.secret != made.secret
        assert again.key.id != made.key.id
    kept = contents(tmp_path)
    assert made.key.id.encode() in kept
    assert made.secret.removeprefix("fh-").encode() not in kept


def contents(folder: Path) -> bytes:
    """All that lies in the files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def test_what_a_client_says_of_id_hash_and_state_is_not_believed(home: Path) -> None:
    async with a_world(home) as world:
        asked = pb.Key(
            id="mine", organisation="acme", project="web", hash=b"x" * 32, pepper_version=9, revoked=True
        )
        made = (await world.stub().CreateKey(rpc.CreateKeyRequest(key=asked))).key
        stored = world.keeper.known.keys[made.id]
        assert stored.id != "mine"
        assert stored.hash != b"x" * 32
        assert stored.pepper_version == 1
        assert not stored.revoked
        assert list(stored.roles) == ["complete", "usage"], "what a client needs, where nothing is asked"


async def test_a_key_is_good_from_its_making_to_its_revocation(home: Path) -> None:
    async with a_world(home) as world:
        stub, known = world.stub(), credentials(world)
        made = await stub.CreateKey(rpc.CreateKeyRequest(key=WEB))
        await world.in_step()
        caller = known(made.secret)
        assert caller is not None
        assert (caller.key, caller.organisation, caller.project) == (made.key.id, "acme", "web")
        assert caller.roles == {"complete"}
        for wrong in ("", made.secret[:-1], made.secret + "a", made.secret.upper(), made.key.id):
            assert known(wrong) is None
        revoked = (await stub.RevokeKey(rpc.RevokeKeyRequest(id=made.key.id))).key
        assert revoked.revoked
        assert revoked.hash == b""
        await world.in_step()
        assert known(made.secret) is None
        await stub.RevokeKey(rpc.RevokeKeyRequest(id=made.key.id))
        assert len([fact for fact in await world.facts() if fact.kind == "key"]) == 2


async def test_revoking_what_is_not_there_is_not_found(home: Path) -> None:
    async with a_world(home) as world:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.stub().RevokeKey(rpc.RevokeKeyRequest(id="key-none"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_key_ends_with_its_time_its_project_or_its_organisation(home: Path) -> None:
    async with a_world(home) as world:
        known = credentials(world)
        until_ns = world.clock.time_ns() + 60 * 10**9
        short = await world.key("acme", "web", "complete", expires_ns=until_ns)
        long = await world.key("acme", "web", "complete")
        theirs = await world.key("rival", "other", "complete")
        await world.clock.advance(59)
        assert all(known(secret) for secret in (short, long, theirs))
        await world.clock.advance(1)
        assert known(short) is None
        await world.keeper.put(pb.Project(id="web", organisation="acme", disabled=True), OPERATOR)
        await world.in_step()
        assert known(long) is None
        assert known(theirs)
        rival = pb.Organisation(id="rival", time_zone="UTC", currency="EUR", disabled=True)
        await world.keeper.put(rival, OPERATOR)
        await world.in_step()
        assert known(theirs) is None


async def test_keys_of_an_older_pepper_stay_good_until_it_is_dropped(home: Path) -> None:
    async with a_world(home) as world:
        old = await world.key("acme", "web", "complete")
    both = {**PEPPERS, 2: b"newer pepper"}
    async with a_world(home, both) as world:
        new = await world.key("acme", "web", "complete")
        assert credentials(world, both)(old)
        assert credentials(world, both)(new)
        assert [key.pepper_version for key in world.keeper.known.keys.values()].count(2) == 1
        only_new = {2: both[2]}
        assert credentials(world, only_new)(old) is None
        assert credentials(world, only_new)(new)


@pytest.mark.parametrize("peppers", [{}, {1: b""}, {1: b"good", 2: b""}])
async def test_control_does_not_start_without_a_pepper(tmp_path: Path, peppers: dict[int, bytes]) -> None:
    world = ControlWorld(tmp_path, peppers)
    with pytest.raises(FreeholdError) as refused:
        await world.open()
    assert refused.value.kind is Kind.INTERNAL
    await world.database.close()
    await world.close()


async def test_keys_made_at_once_are_all_good(home: Path) -> None:
    async with a_world(home) as world:
        made = await asyncio.gather(*(world.keeper.create_key(WEB, OPERATOR) for _ in range(20)))
        await world.in_step()
        assert len({key.id for key, _ in made}) == 20
        known = credentials(world)
        assert all(known(secret) for _, secret in made)
