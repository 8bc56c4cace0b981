"""Who may see and change which value. Pure.

An operator may do everything. A tenant's administrator may see his organisation, and change its projects,
its keys and their budgets, within the rights of the key that asks.
"""

from __future__ import annotations

from google.protobuf.message import Message

from services.control.values import Value
from shared.callers import Caller
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind

ADMIN_MAY_PUT = (pb.Project, pb.Key, pb.Budget)


def authorise(value: Value, caller: Caller, known: Configuration) -> None:
    """Raises `FreeholdError` FORBIDDEN unless the caller may put this value in place of what is known."""
    if caller.operator:
        return
    caller.require("admin")
    if not isinstance(value, ADMIN_MAY_PUT) or organisation_of(value) != caller.organisation:
        raise FreeholdError(Kind.FORBIDDEN, "only an operator may change this")
    if isinstance(value, pb.Budget) and value.level == pb.LEVEL_ORGANISATION:
        raise FreeholdError(Kind.FORBIDDEN, "only an operator may change an organisation's budget")
    if isinstance(value, pb.Key):
        _authorise_key(value, caller, known)


def _authorise_key(value: pb.Key, caller: Caller, known: Configuration) -> None:
    before, own = known.keys.get(value.id), known.keys.get(caller.key)
    if not {*value.roles, *(before.roles if before else ())} <= caller.roles:
        raise _wider("roles")
    if before is not None:  # it can only be revoked
        return
    if own is None:
        raise FreeholdError(Kind.FORBIDDEN, "the caller's key is not known")
    if own.models and not (value.models and set(value.models) <= set(own.models)):
        raise _wider("models")
    if not set(own.policies) <= set(value.policies):
        raise _wider("policies")
    if own.expires_ns and not 0 < value.expires_ns <= own.expires_ns:
        raise _wider("expires_ns")


def _wider(field: str) -> FreeholdError:
    return FreeholdError(Kind.FORBIDDEN, "a key's rights must lie within the caller's", param=field)


def organisation_of(value: Message) -> str:
    """The tenant that a value belongs to; empty for the platform's own."""
    if isinstance(value, pb.Organisation):
        return value.id
    return str(getattr(value, "organisation", ""))


def visible(value: Message, caller: Caller) -> bool:
    """Whether the caller may read a value: the platform's own, or of his organisation."""
    return caller.operator or organisation_of(value) in ("", caller.organisation)
