"""What a configuration value must be before it is published. Pure.

Each check raises `FreeholdError` BAD_REQUEST naming the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CURRENCY = re.compile(r"[A-Z]{3}")
DIGEST = re.compile(r"[0-9a-f]{64}")
ROLES = frozenset({"complete", "usage", "admin", "operator"})
NAME_LENGTH = 200
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


def _name(value: str) -> None:
    _require(
        len(value) <= NAME_LENGTH and value.isprintable(), "name", "must be at most 200 printable characters"
    )


def _currency(value: str) -> None:
    _require(CURRENCY.fullmatch(value) is not None, "currency", "must be a code of ISO 4217, such as EUR")


def _known(found: object, field: str) -> None:
    _require(found is not None, field, "names nothing that exists")


def _policies(names: list[str], known: Configuration) -> None:
    for name in names:
        _known(known.policies.get(name), "policies")


def check_organisation(value: pb.Organisation, known: Configuration) -> str:
    """The value's id."""
    _identifier(value.id, "id")
    _name(value.name)
    _currency(value.currency)
    try:
        ZoneInfo(value.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _require(False, "time_zone", "must be an IANA name, such as Asia/Jakarta")
    _policies(list(value.policies), known)
    before = known.organisations.get(value.id)
    _require(
        before is None or before.currency == value.currency, "currency", "of an organisation cannot change"
    )
    return value.id


def check_project(value: pb.Project, known: Configuration) -> str:
    """The value's id."""
    _identifier(value.id, "id")
    _name(value.name)
    _known(known.organisations.get(value.organisation), "organisation")
    before = known.projects.get(value.id)
    _require(before is None or before.organisation == value.organisation, "id", "is taken")
    _policies(list(value.policies), known)
    return value.id


def check_key(value: pb.Key, known: Configuration) -> str:
    """The value's id."""
    _identifier(value.id, "id")
    _name(value.name)
    project = known.projects.get(value.project)
    _known(project, "project")
    _require(
        project is not None and project.organisation == value.organisation,
        "project",
        "names nothing that exists",
    )
    _require(
        bool(value.roles) and set(value.roles) <= ROLES,
        "roles",
        f"must be some of {', '.join(sorted(ROLES))}",
    )
    _require(value.deadline_ms <= 600_000, "deadline_ms", "must be at most 600000")
    _policies(list(value.policies), known)
    for model in value.models:
        _known(known.models.get(model), "models")
    return value.id


def check_policy(value: pb.Policy, known: Configuration) -> str:
    """The value's id. The pack itself is read by who compiles it."""
    del known
    _identifier(value.id, "id")
    _require(0 < len(value.pack) <= 1_000_000, "pack", "must be 1 to 1000000 characters")
    _require(value.version.startswith(f"{value.id}@"), "version", "must begin with the id and '@'")
    return value.id


def check_price(value: pb.Price, known: Configuration) -> str:
    """The value's id, `MODEL.CURRENCY`."""
    _known(known.models.get(value.model), "model")
    _currency(value.currency)
    _require(bool(value.version) and len(value.version) <= 64, "version", "must be 1 to 64 characters")
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
    return kind, check(value, known)
