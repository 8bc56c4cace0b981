"""Every method of every service of a running platform, with messages that nobody should send: refused by a
status that says whose fault it is, and never by one that says it was ours.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given

from shared import contracts
from shared.rpc.channel import connect
from tests.fuzz.conftest import CHANCES, worlds
from tests.fuzz.embedded import PATIENCE_S, World
from tests.fuzz.mutations import twisted

OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
SERVED = "freehold."
PUBLIC = "freehold.api.v1."
CHANGES = ("Put", "Create", "Revoke", "Claim", "Republish")
"""An operator who changes a platform may break it: these are called in a tenant's name alone."""


def methods() -> dict[str, MethodDescriptor]:
    names = [module.name for module in pkgutil.walk_packages(contracts.__path__, f"{contracts.__name__}.")]
    modules = [importlib.import_module(name) for name in names if name.endswith("_pb2")]
    return {
        f"/{service.full_name}/{method.name}": method
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if service.full_name.startswith(SERVED) and not service.full_name.startswith(PUBLIC)
    }


METHODS = methods()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rpc") / "home")
    yield made
    made.close()


async def call(world: World, path: str, request: Message, secret: str) -> grpc.StatusCode:
    """Its status; of a stream, once it is read to its end or has given ten messages."""
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    async with connect(world.embedded.home.address) as channel:
        ask = channel.unary_stream if METHODS[path].server_streaming else channel.unary_unary
        running = ask(path)(request.SerializeToString(), metadata=metadata, timeout=PATIENCE_S)
        if METHODS[path].server_streaming:
            for _ in range(10):
                try:
                    if await running.read() is grpc.aio.EOF:
                        break
                except grpc.aio.AioRpcError:
                    break
            else:
                running.cancel()
        return await running.code()


@pytest.mark.attack(7, 10, 42)
@pytest.mark.parametrize("path", METHODS)
@worlds(12)
@given(chance=CHANCES)
def test_no_message_is_our_fault(world: World, path: str, chance: random.Random) -> None:
    request = twisted(chance, GetMessageClass(METHODS[path].input_type)())
    known = world.embedded.home.read_demo()
    secrets = [known["OPENAI_API_KEY"]]
    if not METHODS[path].name.startswith(CHANGES):
        secrets += [known["FREEHOLD_ADMIN_KEY"], world.embedded.home.token.read_text()]
    for secret in secrets:
        assert world.run(call(world, path, request, secret)) not in OURS


@pytest.mark.attack(6)
@pytest.mark.parametrize("path", METHODS)
def test_06_no_method_answers_without_a_key(world: World, path: str) -> None:
    request = GetMessageClass(METHODS[path].input_type)()
    for secret in ("", "fh-nobody"):
        assert world.run(call(world, path, request, secret)) is grpc.StatusCode.UNAUTHENTICATED


FOR_KEYS = {
    "/freehold.audit.v1.Audit/GetCheckpoint",
    "/freehold.audit.v1.Audit/GetProof",
    "/freehold.audit.v1.Audit/GetReceipt",
    "/freehold.billing.v1.Billing/GetBalance",
    "/freehold.billing.v1.Billing/GetUsage",
    "/freehold.billing.v1.Billing/ListEntries",
    "/freehold.billing.v1.Billing/Quote",
    "/freehold.control.v1.Control/ListModels",
    "/freehold.control.v1.Control/ListPrices",
    "/freehold.inference.v1.Inference/GetLoad",
    "/freehold.inference.v1.Inference/ListModels",
    "/freehold.moderation.v1.Moderation/Classify",
    "/freehold.moderation.v1.Moderation/ListPolicies",
    "/freehold.tokenizer.v1.Tokenizer/CountTokens",
    "/freehold.tokenizer.v1.Tokenizer/Decode",
    "/freehold.tokenizer.v1.Tokenizer/Encode",
    "/freehold.tokenizer.v1.Tokenizer/RenderChat",
}
"""What a customer's key may call; everything else is for administrators and operators."""


@pytest.mark.attack(6)
@pytest.mark.parametrize("path", METHODS)
def test_06_a_customers_key_calls_what_is_for_customers(world: World, path: str) -> None:
    request = GetMessageClass(METHODS[path].input_type)()
    status = world.run(call(world, path, request, world.embedded.home.read_demo()["OPENAI_API_KEY"]))
    assert (status is grpc.StatusCode.PERMISSION_DENIED) is (path not in FOR_KEYS)


def test_the_platform_is_as_well_as_before(world: World) -> None:
    """Last in this file."""
    assert world.serves() == ""
    assert world.unready() == []
    assert world.faults.found == []
