"""The configuration's keeper: rights, checks, storing, publishing."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Mapping

from google.protobuf.message import Message

from services.control import repository
from services.control.repository import Change
from services.control.values import Value, checked
from shared.bus.ports import Record
from shared.callers import Caller
from shared.configuration import Configuration, config_key, hash_key
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.storage.database import Database
from shared.storage.outbox import Relay

SECRET_BYTES = 32
ADMIN_MAY_PUT = (pb.Project, pb.Key, pb.Budget)


class Keeper:
    """All changes go through `put`: it checks rights and value, stores both, and wakes the relay.

    `known` mirrors the database, so that a check sees what was stored and not what has come back over
    the bus. Changes are made one after the other.
    """

    def __init__(self, database: Database, relay: Relay, host: Host, peppers: Mapping[int, bytes]) -> None:
        self._database = database
        self._relay = relay
        self._host = host
        self._peppers = peppers
        self._turn = asyncio.Lock()
        self.known = Configuration()

    async def load(self) -> None:
        """Fill `known` from the database."""
        for kind, identifier, encoded in await self._database.read(repository.stored):
            self._mirror(kind, identifier, encoded)

    async def put(self, value: Value, caller: Caller, approver: str = "") -> int:
        """Store and publish; the value's version. Raises `FreeholdError`."""
        async with self._turn:
            return await self._put(value, caller, approver)

    async def _put(self, value: Value, caller: Caller, approver: str) -> int:
        organisation = organisation_of(value)
        self._authorise(value, organisation, caller)
        kind, identifier = checked(value, self.known)
        now = self._host.clock.time_ns()
        change = Change(kind, identifier, value, caller.key, approver, organisation, now)
        version = await self._database.transact(
            lambda connection: repository.put(connection, change, self._host.incarnation)
        )
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
        found = self.known.keys.get(identifier)
        if found is None or not visible(found, caller):
            raise FreeholdError(Kind.NOT_FOUND, "no such key", param="id")
        key = pb.Key()
        key.CopyFrom(found)
        key.revoked = True
        await self.put(key, caller)
        return key

    def _authorise(self, value: Value, organisation: str, caller: Caller) -> None:
        if caller.operator:
            return
        caller.require("admin")
        if not isinstance(value, ADMIN_MAY_PUT) or organisation != caller.organisation:
            raise FreeholdError(Kind.FORBIDDEN, "only an operator may change this")
        if isinstance(value, pb.Budget) and value.level == pb.LEVEL_ORGANISATION:
            raise FreeholdError(Kind.FORBIDDEN, "only an operator may change an organisation's budget")
        if isinstance(value, pb.Key):
            before = self.known.keys.get(value.id)
            if not set(value.roles) <= caller.roles or (before and not set(before.roles) <= caller.roles):
                raise FreeholdError(
                    Kind.FORBIDDEN, "a key's roles must lie within the caller's", param="roles"
                )

    def _mirror(self, kind: str, identifier: str, encoded: bytes) -> None:
        self.known.apply(Record("config", 0, 0, 0, config_key(kind, identifier), encoded, ()))


def organisation_of(value: Message) -> str:
    """The tenant that a value belongs to; empty for the platform's own."""
    if isinstance(value, pb.Organisation):
        return value.id
    return str(getattr(value, "organisation", ""))


def visible(value: Message, caller: Caller) -> bool:
    """Whether the caller may read a value: the platform's own, or of his organisation."""
    return caller.operator or organisation_of(value) in ("", caller.organisation)


def new_secret(chance: random.Random) -> str:
    """A new key: `fh-` and 256 random bits in lower-case base 32."""
    return "fh-" + base64.b32encode(chance.randbytes(SECRET_BYTES)).decode().rstrip("=").lower()
