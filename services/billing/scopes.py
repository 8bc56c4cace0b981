"""What a caller may read: its own project; with the role `admin` its own organisation; an operator all.

Whatever is another tenant's, or is not there, is NOT_FOUND alike. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from services.billing.books.reports import Scope
from shared.callers import Caller
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1.config_pb2 import Price
from shared.errors import FreeholdError, Kind


class Target(NamedTuple):
    """An object whose budgets are asked for."""

    organisation: str
    project: str
    key: str
    levels: tuple[int, ...]
    """Levels to tell of: 1 organisation, 2 project, 3 key."""


def readable(known: Configuration, who: Caller, organisation: str, project: str) -> Scope:
    """The scope of a read; names that are empty become the caller's own. Raises `FreeholdError`."""
    who.require("usage", "admin")
    if who.operator:
        return Scope(organisation, project)
    if organisation not in ("", who.organisation):
        raise _hidden("organisation")
    if "admin" not in who.roles:
        if project not in ("", who.project):
            raise _hidden("project")
        return Scope(who.organisation, who.project)
    if project and project != who.project:
        found = known.projects.get(project)
        if found is None or found.organisation != who.organisation:
            raise _hidden("project")
    return Scope(who.organisation, project)


def target(known: Configuration, who: Caller, organisation: str, project: str, key: str) -> Target:
    """The object named, or the caller's own where nothing is. Raises `FreeholdError`."""
    if who.organisation and not (organisation or project or key):
        organisation, project, key = who.organisation, who.project, who.key
    asked = "key" if key else "project" if project else "organisation"
    of_key = known.keys.get(key)
    if of_key is not None and project in ("", of_key.project):
        project = of_key.project
    elif key:
        raise _hidden(asked)
    of_project = known.projects.get(project)
    if of_project is not None and organisation in ("", of_project.organisation):
        organisation = of_project.organisation
    elif project:
        raise _hidden(asked)
    try:
        scope = readable(known, who, organisation, project)
    except FreeholdError as error:
        # Whatever hides it: the answer names only what was asked for.
        raise (_hidden(asked) if error.kind is Kind.NOT_FOUND else error) from None
    if scope.organisation not in known.organisations:
        raise _hidden(asked)
    wide = who.operator or "admin" in who.roles
    levels = [number for number, told in enumerate((wide, scope.project, key), 1) if told]
    return Target(*scope, key, tuple(levels))


def price_for(known: Configuration, who: Caller, model: str) -> Price:
    """The price of a model in the caller's currency; for an operator in the first there is.

    Raises `FreeholdError` MODEL_UNKNOWN or PRICE_MISSING.
    """
    organisation = known.organisations.get(who.organisation)
    currencies = [organisation.currency] if organisation else []
    if who.operator:
        currencies += sorted({price.currency for price in known.prices.values()})
    for currency in currencies:
        if price := known.price_of(model, currency):
            return price
    if model not in known.models:
        raise FreeholdError(Kind.MODEL_UNKNOWN, "there is no such model", param="model")
    raise FreeholdError(Kind.PRICE_MISSING, "this model has no price for your organisation", param="model")


def _hidden(param: str) -> FreeholdError:
    return FreeholdError(Kind.NOT_FOUND, f"there is no such {param}", param=param)
