"""The configuration's keeper: rights, checks, storing, publishing."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Mapping

from services.control import repository
from services.control.repository import Change
from services.control.rights import authorise, organisation_of, visible
from services.control.values import Value, check_text, checked
from shared.bus.ports import Record
from shared.callers import Caller
from shared.configuration import Configuration, config_key, hash_key
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.lifecycle import Tasks
from shared.storage.database import Database, DatabaseError
from shared.storage.outbox import Relay

SECRET_BYTES = 32


class Keeper:
    """All changes go through `put`: it checks rights and value, stores both, and wakes the relay.

    `known` mirrors the database, so that a check sees what was stored and not what has come back over
    the bus. Changes are made one after the other.
    """

    def __init__(self, database: Database, relay: Relay, host: Host, peppers: Mapping[int, bytes]) -> None:
        if not peppers or not all(peppers.values()):
            raise FreeholdError(Kind.INTERNAL, "the key pepper is empty")
        self._database = database
        self._relay = relay
        self._host = host
        self._peppers = peppers
        self._turn = asyncio.Lock()
        self._tasks = Tasks("control.keeper")
        self.known = Configuration()

    async def load(self) -> None:
        """Fill `known` from the database."""
        for kind, identifier, encoded in await self._database.read(repository.stored):
            self._mirror(kind, identifier, encoded)

    async def close(self, deadline: float) -> None:
        """Finish the changes that have begun."""
        await self._tasks.drain(self._host.clock, deadline)

    async def put(self, value: Value, caller: Caller, approver: str = "") -> int:
        """Store and publish; the value's version. Raises `FreeholdError`, and `DatabaseError` where it is
        unknown whether it was stored; to put it again does no harm.
        """
        # A task of its own: where the caller goes away in the midst, `known` must still follow the database.
        putting = self._tasks.spawn(self._put(value, caller, approver), "put")
        outcome: int | FreeholdError | DatabaseError = await asyncio.shield(putting)
        if not isinstance(outcome, int):
            raise outcome
        return outcome

    async def _put(self, value: Value, caller: Caller, approver: str) -> int | FreeholdError | DatabaseError:
        async with self._turn:
            try:
                authorise(value, caller, self.known)
                kind, identifier = checked(value, self.known)
                check_text(approver, "approver")
            except FreeholdError as refused:
                return refused
            now = self._host.clock.time_ns()
            change = Change(kind, identifier, value, caller.key, approver, organisation_of(value), now)
            try:
                version = await self._database.transact(
                    lambda connection: repository.put(connection, change, self._host.incarnation)
                )
            except DatabaseError as fault:
                return fault
            self._mirror(kind, identifier, value.SerializeToString(deterministic=True))
            self._relay.wake()
            return version

    async def create_key(self, asked: pb.Key, caller: Caller) -> tuple[pb.Key, str]:
        """A new key and its secret, which is kept nowhere."""
        version = max(self._peppers)
        secret = new_secret(self._host.random)
        key = pb.Key()
        key.CopyFrom(asked)
        key.id = f"key-{self._host.random.randbytes(8).hex()}"
        key.hash = hash_key(secret, self._peppers[version])
        key.pepper_version = version
        key.revoked = False
        if not key.roles:
            key.roles.extend(["complete", "usage"])
        await self.put(key, caller)
        return key, secret

    async def revoke_key(self, identifier: str, caller: Caller) -> pb.Key:
        """Revoke a key for good. Raises `FreeholdError` NOT_FOUND where the caller cannot see it."""
        caller.require("admin")
        found = self.known.keys.get(identifier)
        if found is None or not visible(found, caller):
            raise FreeholdError(Kind.NOT_FOUND, "no such key", param="id")
        key = pb.Key()
        key.CopyFrom(found)
        key.revoked = True
        await self.put(key, caller)
        return key

    def _mirror(self, kind: str, identifier: str, encoded: bytes) -> None:
        self.known.apply(Record("config", 0, 0, 0, config_key(kind, identifier), encoded, ()))


def new_secret(chance: random.Random) -> str:
    """A new key: `fh-` and 256 random bits in lower-case base 32."""
    return "fh-" + base64.b32encode(chance.randbytes(SECRET_BYTES)).decode().rstrip("=").lower()
