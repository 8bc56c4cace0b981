"""A configuration value that is not well formed, or names what does not exist, is refused by field."""

from __future__ import annotations

from typing import Any

import pytest

from services.control.values import Value, checked
from shared.bus.ports import Record
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind

DIGEST = "ab" * 32


def organisation(**changes: Any) -> pb.Organisation:
    return pb.Organisation(**{"id": "acme", "time_zone": "Asia/Jakarta", "currency": "IDR", **changes})


def model(**changes: Any) -> pb.Model:
    fields: dict[str, Any] = {
        "name": "m1",
        "weights_digest": DIGEST,
        "tokenizer_digest": DIGEST,
        "template_digest": DIGEST,
        "context": 2048,
        "default_output": 256,
        "expand": 1,
    }
    return pb.Model(**{**fields, **changes})


@pytest.fixture
def known() -> Configuration:
    configuration = Configuration()
    values: list[tuple[str, str, Value]] = [
        ("organisation", "acme", organisation()),
        ("project", "p1", pb.Project(id="p1", organisation="acme")),
        ("model", "m1", model()),
    ]
    for offset, (kind, identifier, value) in enumerate(values):
        record = Record("config", 0, offset, 0, config_key(kind, identifier), value.SerializeToString(), ())
        configuration.apply(record)
    return configuration


def budget(**changes: Any) -> pb.Budget:
    fields: dict[str, Any] = {
        "level": pb.LEVEL_PROJECT,
        "id": "p1",
        "organisation": "acme",
        "currency": "IDR",
        "limit": 5,
        "period": pb.PERIOD_DAY,
    }
    return pb.Budget(**{**fields, **changes})


GOOD: list[tuple[Value, str]] = [
    (organisation(share=10_000), "organisation/acme"),
    (pb.Project(id="p2", organisation="acme"), "project/p2"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["complete"]), "key/k"),
    (pb.Policy(id="base", pack="x", version="base@1+0"), "policy/base"),
    (pb.Price(model="m1", currency="IDR", version="1"), "price/m1.IDR"),
    (budget(), "budget/project.p1"),
    (model(), "model/m1"),
]

BAD: list[tuple[Value, str]] = [
    (organisation(id="A/B"), "id"),
    (organisation(id=""), "id"),
    (organisation(time_zone="Mars/Olympus"), "time_zone"),
    (organisation(time_zone="../etc/passwd"), "time_zone"),
    (organisation(currency="idr"), "currency"),
    (organisation(currency="USD"), "currency"),
    (organisation(name="a\nb"), "name"),
    (organisation(policies=["none"]), "policies"),
    (organisation(share=10_001), "share"),
    (pb.Project(id="p2", organisation="other"), "organisation"),
    (pb.Key(id="k", organisation="acme", project="p9", roles=["complete"]), "project"),
    (pb.Key(id="k", organisation="other", project="p1", roles=["complete"]), "project"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["root"]), "roles"),
    (pb.Key(id="k", organisation="acme", project="p1"), "roles"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["usage", "usage"]), "roles"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["usage"], models=["m1", "m9"]), "models"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["usage"], models=["m1", "m1"]), "models"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["usage"], deadline_ms=600_001), "deadline_ms"),
    (pb.Key(id="k", organisation="acme", project="p1", roles=["usage"], priority=9), "priority"),  # type: ignore[arg-type]
    (pb.Policy(id="base", pack="", version="base@1"), "pack"),
    (pb.Policy(id="base", pack="x", version="other@1"), "version"),
    (pb.Policy(id="base", pack="x", version="base@" + "1" * 200), "version"),
    (pb.Policy(id="base", pack="x" * 1_000_001, version="base@1"), "pack"),
    (pb.Price(model="m1", currency="IDR"), "version"),
    (pb.Price(model="m1", currency="IDR", version="1\x1b[2J"), "version"),
    (pb.Project(id="p1" * 33, organisation="acme"), "id"),
    (pb.Project(id="p3", organisation="acme", name="x" * 201), "name"),
    (model(licence="x" * 201), "licence"),
    (pb.Price(model="m9", currency="IDR", version="1"), "model"),
    (pb.Price(model="m1", currency="IDR", version="1", output=10**15 + 1), "output"),
    (budget(id="p9"), "id"),
    (budget(organisation="other"), "id"),
    (budget(currency="USD"), "currency"),
    (budget(limit=2**63), "limit"),
    (budget(period=pb.PERIOD_UNSPECIFIED), "period"),
    (model(weights_digest="xyz"), "weights_digest"),
    (model(default_output=4096), "default_output"),
    (model(expand=0), "expand"),
]


@pytest.mark.parametrize(("value", "key"), GOOD, ids=[key for _, key in GOOD])
def test_a_well_formed_value_has_its_key(known: Configuration, value: Value, key: str) -> None:
    assert "/".join(checked(value, known)) == key


@pytest.mark.attack(8, 22)
@pytest.mark.parametrize(
    ("value", "field"), BAD, ids=[f"{type(v).__name__}.{f}{i}" for i, (v, f) in enumerate(BAD)]
)
def test_a_bad_value_is_refused_by_the_field_at_fault(known: Configuration, value: Value, field: str) -> None:
    with pytest.raises(FreeholdError) as refused:
        checked(value, known)
    assert refused.value.kind is Kind.BAD_REQUEST
    assert refused.value.param == field


def test_a_field_that_is_not_known_here_is_refused_and_not_passed_on(known: Configuration) -> None:
    project = pb.Project.FromString(
        pb.Project(id="p2", organisation="acme").SerializeToString() + b"\xfa\x06\x03any"
    )
    with pytest.raises(FreeholdError, match="not known"):
        checked(project, known)


def test_a_value_cannot_outgrow_a_record(known: Configuration) -> None:
    for number in range(101):
        known.policies[f"p{number}"] = pb.Policy(id=f"p{number}")
    names = list(known.policies)
    assert checked(pb.Project(id="p2", organisation="acme", policies=names[:100]), known)
    with pytest.raises(FreeholdError, match="policies"):
        checked(pb.Project(id="p2", organisation="acme", policies=names), known)


@pytest.mark.attack(8)
def test_what_belongs_to_another_tenant_is_not_taken_over(known: Configuration) -> None:
    known.organisations["rival"] = pb.Organisation(id="rival", currency="EUR", time_zone="UTC")
    with pytest.raises(FreeholdError, match="taken"):
        checked(pb.Project(id="p1", organisation="rival"), known)
    with pytest.raises(FreeholdError, match="nothing that exists"):
        checked(budget(organisation="rival", currency="EUR"), known)
