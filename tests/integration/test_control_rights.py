"""Who may call what: every method that a server has, by every kind of credential, against one table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.contracts.freehold.control.v1 import control_pb2 as rpc
from shared.contracts.freehold.platform.v1 import pulse_pb2 as platform
from tests.integration.control_world import TOKEN, ControlWorld

CALLERS = ("nobody", "wrong", "rival", "usage", "admin", "operator", "process")
"""No credential, one that is not known, another tenant's administrator, three of the tenant's own keys, and
the process's token."""

OUTCOMES = {
    "-": grpc.StatusCode.OK,
    "401": grpc.StatusCode.UNAUTHENTICATED,
    "403": grpc.StatusCode.PERMISSION_DENIED,
    "404": grpc.StatusCode.NOT_FOUND,
}

#                       nobody wrong rival usage admin operator process; what is asked for is the tenant's own
EVERYBODY = "            401   401   -     -     -     -        -"
ADMINISTRATORS = "       401   401   -     403   -     -        -"
OWN_ADMINISTRATORS = "   401   401   403   403   -     -        -"
OWN_KEYS = "             401   401   404   403   -     -        -"
OPERATORS = "            401   401   403   403   403   -        -"
OPERATORS_NO_TRACE = "   401   401   403   403   403   404      404"

POLICY = {
    "/freehold.control.v1.Control/PutOrganisation": OPERATORS,
    "/freehold.control.v1.Control/ListOrganisations": ADMINISTRATORS,
    "/freehold.control.v1.Control/PutProject": OWN_ADMINISTRATORS,
    "/freehold.control.v1.Control/ListProjects": ADMINISTRATORS,
    "/freehold.control.v1.Control/PutPolicy": OPERATORS,
    "/freehold.control.v1.Control/ListPolicies": ADMINISTRATORS,
    "/freehold.control.v1.Control/PutPrice": OPERATORS,
    "/freehold.control.v1.Control/ListPrices": EVERYBODY,
    "/freehold.control.v1.Control/PutBudget": OWN_ADMINISTRATORS,
    "/freehold.control.v1.Control/ListBudgets": ADMINISTRATORS,
    "/freehold.control.v1.Control/PutModel": OPERATORS,
    "/freehold.control.v1.Control/ListModels": EVERYBODY,
    "/freehold.control.v1.Control/CreateKey": OWN_ADMINISTRATORS,
    "/freehold.control.v1.Control/RevokeKey": OWN_KEYS,
    "/freehold.control.v1.Control/ListKeys": ADMINISTRATORS,
    "/freehold.control.v1.Control/ClaimNumbers": OPERATORS,
    "/freehold.control.v1.Control/RepublishFacts": OPERATORS,
    "/freehold.platform.v1.Platform/GetStatus": OPERATORS,
    "/freehold.platform.v1.Platform/GetTrace": OPERATORS_NO_TRACE,
}

BUDGET = pb.Budget(
    level=pb.LEVEL_PROJECT, id="web", organisation="acme", currency="EUR", limit=5, period=pb.PERIOD_DAY
)
MODEL = pb.Model(
    name="new",
    weights_digest="cd" * 32,
    tokenizer_digest="cd" * 32,
    template_digest="cd" * 32,
    context=64,
    default_output=8,
    expand=1,
)
ASKED: dict[str, Message] = {
    "PutOrganisation": rpc.PutOrganisationRequest(
        organisation=pb.Organisation(id="acme", time_zone="UTC", currency="EUR")
    ),
    "PutProject": rpc.PutProjectRequest(project=pb.Project(id="web", organisation="acme", name="new")),
    "PutPolicy": rpc.PutPolicyRequest(policy=pb.Policy(id="p", pack="rules: []", version="p@1")),
    "PutPrice": rpc.PutPriceRequest(price=pb.Price(model="small", currency="IDR", version="1")),
    "PutBudget": rpc.PutBudgetRequest(budget=BUDGET),
    "PutModel": rpc.PutModelRequest(model=MODEL),
    "CreateKey": rpc.CreateKeyRequest(key=pb.Key(organisation="acme", project="web", roles=["usage"])),
    "ClaimNumbers": rpc.ClaimNumbersRequest(kind=rpc.NUMBER_KIND_LANE, count=1, incarnation=5),
    "RepublishFacts": rpc.RepublishFactsRequest(from_seq=1, to_seq=1),
    "GetTrace": platform.GetTraceRequest(request="01890a5d-ac96-774b-bcce-b302099a8057"),
}

SERVICES = [
    rpc.DESCRIPTOR.services_by_name["Control"],
    platform.DESCRIPTOR.services_by_name["Platform"],
]
METHODS = {
    f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods
}


@pytest.fixture(params=["unix", "tcp"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlWorld]:
    made = ControlWorld(tmp_path, address="127.0.0.1:0" if request.param == "tcp" else "")
    await made.open()
    await made.put_all()
    yield made
    await made.close()


async def secrets(world: ControlWorld) -> dict[str, str]:
    return {
        "nobody": "",
        "wrong": "fh-" + "a" * 52,
        "rival": await world.key("rival", "other", "complete", "usage", "admin"),
        "usage": await world.key("acme", "web", "usage"),
        "admin": await world.key("acme", "web", "complete", "usage", "admin"),
        "operator": await world.key("acme", "web", "operator"),
        "process": TOKEN,
    }


def test_the_table_holds_every_method_and_no_other() -> None:
    assert POLICY.keys() == METHODS.keys()
    assert all(len(row.split()) == len(CALLERS) for row in POLICY.values())


@pytest.mark.attack(6)
async def test_every_method_by_every_credential(world: ControlWorld) -> None:
    tokens = await secrets(world)
    channel = grpc.aio.insecure_channel(world.target)
    found: dict[tuple[str, str], str] = {}
    for path, method in METHODS.items():
        for caller, token in tokens.items():
            asked = ASKED.get(method.name)
            if method.name == "RevokeKey":  # a key of its own for each caller, of the tenant
                await world.key("acme", "web", "usage")
                asked = rpc.RevokeKeyRequest(id=list(world.keeper.known.keys)[-1])
            code = await call(channel, path, asked, token)
            found[path, caller] = next(
                (short for short, status in OUTCOMES.items() if status is code), str(code)
            )
    await channel.close()
    expected = {
        (path, caller): outcome
        for path, row in POLICY.items()
        for caller, outcome in zip(CALLERS, row.split(), strict=True)
    }
    assert {cell: code for cell, code in found.items() if code != expected[cell]} == {}
    assert found.keys() == expected.keys()


async def call(channel: grpc.aio.Channel, path: str, asked: Message | None, token: str) -> grpc.StatusCode:
    payload = b"" if asked is None else asked.SerializeToString()
    running = channel.unary_unary(path)(payload, metadata=bearer(token) if token else (), timeout=10)
    return await running.code()


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.mark.attack(7)
async def test_nobody_reads_another_tenants_values(world: ControlWorld) -> None:
    tokens = await secrets(world)
    channel = grpc.aio.insecure_channel(world.target)
    lists = [path for path in METHODS if "/List" in path]
    assert len(lists) == 7
    for path in lists:
        ask = channel.unary_unary(path)
        mine = await ask(b"", metadata=bearer(tokens["admin"]))
        theirs = await ask(b"", metadata=bearer(tokens["rival"]))
        assert mine
        assert b"rival" not in mine
        assert b"acme" not in theirs
    # A filter is no way round.
    narrow = rpc.ListProjectsRequest(organisation="acme").SerializeToString()
    path = "/freehold.control.v1.Control/ListProjects"
    assert await channel.unary_unary(path)(narrow, metadata=bearer(tokens["rival"])) == b""
    await channel.close()


REFUSED = [
    ("another tenant", {"organisation": "rival", "project": "other"}, ""),
    ("wider roles", {"roles": ["operator"]}, "roles"),
    ("any model", {"models": []}, "models"),
    ("another model", {"models": ["small", "large"]}, "models"),
    ("without the policy", {"policies": []}, "policies"),
    ("for ever", {"expires_ns": 0}, "expires_ns"),
    ("for longer", {"expires_ns": 1_700_000_100_000_000_001}, "expires_ns"),
]
LIMITS = {"models": ["small"], "policies": ["base"], "expires_ns": 1_700_000_100_000_000_000}


@pytest.mark.attack(8)
@pytest.mark.parametrize(
    ("wider", "param"), [(wider, param) for _, wider, param in REFUSED], ids=[c[0] for c in REFUSED]
)
async def test_a_key_is_not_made_with_wider_rights_than_its_maker(
    world: ControlWorld, wider: dict[str, object], param: str
) -> None:
    stub = world.stub(await world.key("acme", "web", "usage", "admin", **LIMITS))
    fields = {"organisation": "acme", "project": "web", "roles": ["usage"], **LIMITS}
    asked = pb.Key(**fields)  # type: ignore[arg-type]
    assert (await stub.CreateKey(rpc.CreateKeyRequest(key=asked))).secret
    before = len(world.keeper.known.keys)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateKey(rpc.CreateKeyRequest(key=pb.Key(**{**fields, **wider})))  # type: ignore[arg-type]
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert param in str(refused.value.trailing_metadata())
    assert len(world.keeper.known.keys) == before


@pytest.mark.attack(8)
async def test_an_administrator_changes_no_more_than_his_own(world: ControlWorld) -> None:
    tokens = await secrets(world)
    stub = world.stub(tokens["admin"])
    operator_key = next(key.id for key in world.keeper.known.keys.values() if "operator" in key.roles)
    organisation = pb.Budget(
        level=pb.LEVEL_ORGANISATION,
        id="acme",
        organisation="acme",
        currency="EUR",
        limit=9,
        period=pb.PERIOD_NONE,
    )
    for asked in (
        stub.PutBudget(rpc.PutBudgetRequest(budget=organisation)),
        stub.PutProject(rpc.PutProjectRequest(project=pb.Project(id="mine", organisation="rival"))),
        stub.PutProject(rpc.PutProjectRequest(project=pb.Project(id="mine"))),
        stub.RevokeKey(rpc.RevokeKeyRequest(id=operator_key)),
    ):
        assert await asked.code() is grpc.StatusCode.PERMISSION_DENIED
    theirs = pb.Budget()
    theirs.CopyFrom(BUDGET)
    theirs.id = "other"
    for asked in (
        stub.PutBudget(rpc.PutBudgetRequest(budget=theirs)),
        stub.PutProject(rpc.PutProjectRequest(project=pb.Project(id="other", organisation="acme"))),
    ):
        assert await asked.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert world.keeper.known.projects["other"].organisation == "rival"
