"""What a configuration value must be before it is published. Pure.

Each check raises `FreeholdError` BAD_REQUEST naming the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.protobuf.unknown_fields import UnknownFieldSet

from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CURRENCY = re.compile(r"[A-Z]{3}")
DIGEST = re.compile(r"[0-9a-f]{64}")
ROLES = frozenset({"complete", "usage", "admin", "operator"})
NAME_LENGTH = 200
MOST_NAMED = 100
"""Policies or models that one value may name: a value must fit into a record, many times over."""
MAX_SHARE = 10_000
MAX_PRICE = 10**15
MAX_LIMIT = 2**62
LEVELS = {pb.LEVEL_ORGANISATION: "organisation", pb.LEVEL_PROJECT: "project", pb.LEVEL_KEY: "key"}

Value = pb.Organisation | pb.Project | pb.Key | pb.Policy | pb.Price | pb.Budget | pb.Model
V = TypeVar("V", bound=Value)


def _require(condition: bool, field: str, message: str) -> None:
    if not condition:
        raise FreeholdError(Kind.BAD_REQUEST, f"{field} {message}", param=field)


def _identifier(value: str, field: str) -> None:
    _require(ID.fullmatch(value) is not None, field, "must be 1 to 64 of a-z, 0-9, '.', '_', '-'")


def check_text(value: str, field: str) -> None:
    """Text that people read."""
    _require(
        len(value) <= NAME_LENGTH and value.isprintable(),
        field,
        f"must be at most {NAME_LENGTH} printable characters",
    )


def _currency(value: str) -> None:
    _require(CURRENCY.fullmatch(value) is not None, "currency", "must be a code of ISO 4217, such as EUR")


def _known(found: object, field: str) -> None:
    _require(found is not None, field, "names nothing that exists")


def _named(names: Sequence[str], known: Mapping[str, object], field: str) -> None:
    _require(
        len(names) <= MOST_NAMED and len(set(names)) == len(names),
        field,
        f"must be at most {MOST_NAMED}, each once",
    )
    for name in names:
        _known(known.get(name), field)


def check_organisation(value: pb.Organisation, known: Configuration) -> str:
    """The value's id."""
    _identifier(value.id, "id")
    check_text(value.name, "name")
    _currency(value.currency)
    try:
        ZoneInfo(value.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _require(False, "time_zone", "must be an IANA name, such as Asia/Jakarta")
    _named(value.policies, known.policies, "policies")
    before = known.organisations.get(value.id)
    _require(
        before is None or before.currency == value.currency, "currency", "of an organisation cannot change"
    )
    _require(value.share <= MAX_SHARE, "share", f"must be at most {MAX_SHARE}")
    return value.id


def check_project(value: pb.Project, known: Configuration) -> str:
    """The value's id."""
    _identifier(value.id, "id")
    check_text(value.name, "name")
    _known(known.organisations.get(value.organisation), "organisation")
    before = known.projects.get(value.id)
    _require(before is None or before.organisation == value.organisation, "id", "is taken")
    _named(value.policies, known.policies, "policies")
    return value.id


def check_key(value: pb.Key, known: Configuration) -> str:
    """The value's id."""
    _identifier(value.id, "id")
    check_text(value.name, "name")
    project = known.projects.get(value.project)
    _known(project, "project")
    _require(
        project is not None and project.organisation == value.organisation,
        "project",
        "names nothing that exists",
    )
    _require(
        bool(value.roles) and set(value.roles) <= ROLES and len(set(value.roles)) == len(value.roles),
        "roles",
        f"must be some of {', '.join(sorted(ROLES))}, each once",
    )
    _require(value.deadline_ms <= 600_000, "deadline_ms", "must be at most 600000")
    _require(value.priority in pb.Priority.values(), "priority", "must be interactive or batch")
    _named(value.policies, known.policies, "policies")
    _named(value.models, known.models, "models")
    return value.id


def check_policy(value: pb.Policy, known: Configuration) -> str:
    """The value's id. The pack itself is read by who compiles it."""
    del known
    _identifier(value.id, "id")
    _require(0 < len(value.pack) <= 1_000_000, "pack", "must be 1 to 1000000 characters")
    _require(value.version.startswith(f"{value.id}@"), "version", "must begin with the id and '@'")
    check_text(value.version, "version")
    return value.id


def check_price(value: pb.Price, known: Configuration) -> str:
    """The value's id, `MODEL.CURRENCY`."""
    _known(known.models.get(value.model), "model")
    _currency(value.currency)
    _require(bool(value.version), "version", "must be given")
    check_text(value.version, "version")
    for field in ("prompt", "cached", "output"):
        _require(getattr(value, field) <= MAX_PRICE, field, f"must be at most {MAX_PRICE}")
    return f"{value.model}.{value.currency}"


def check_budget(value: pb.Budget, known: Configuration) -> str:
    """The value's id, `LEVEL.ID`."""
    _require(value.level in LEVELS, "level", "must be organisation, project or key")
    level = LEVELS[value.level]
    owner = getattr(known, f"{level}s").get(value.id)
    _known(owner, "id")
    organisation = owner.id if level == "organisation" else owner.organisation
    _require(organisation == value.organisation, "id", "names nothing that exists")
    currency = known.organisations[organisation].currency
    _require(value.currency == currency, "currency", f"must be the organisation's, {currency}")
    _require(value.limit <= MAX_LIMIT, "limit", f"must be at most {MAX_LIMIT}")
    _require(value.period != pb.PERIOD_UNSPECIFIED, "period", "must be none, day or month")
    return f"{level}.{value.id}"


def check_model(value: pb.Model, known: Configuration) -> str:
    """The value's id, its name."""
    del known
    _identifier(value.name, "name")
    for field in ("weights_digest", "tokenizer_digest", "template_digest"):
        _require(DIGEST.fullmatch(getattr(value, field)) is not None, field, "must be SHA-256 in hexadecimal")
    _require(16 <= value.context <= 10_000_000, "context", "must be 16 to 10000000")
    _require(1 <= value.default_output <= value.context, "default_output", "must be 1 to the context")
    _require(1 <= value.expand <= 64, "expand", "must be 1 to 64")
    check_text(value.licence, "licence")
    return value.name


CHECKS: dict[type[Value], tuple[str, Callable[..., str]]] = {
    pb.Organisation: ("organisation", check_organisation),
    pb.Project: ("project", check_project),
    pb.Key: ("key", check_key),
    pb.Policy: ("policy", check_policy),
    pb.Price: ("price", check_price),
    pb.Budget: ("budget", check_budget),
    pb.Model: ("model", check_model),
}


def checked(value: Value, known: Configuration) -> tuple[str, str]:
    """(kind, id) of a value that may be published. Raises `FreeholdError`."""
    kind, check = CHECKS[type(value)]
    _require(not UnknownFieldSet(value), kind, "has a field that is not known here")
    return kind, check(value, known)
