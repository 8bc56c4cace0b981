"""A real gRPC client against the public port, and against the operator's socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1.api_pb2_grpc import CompletionsStub
from shared.contracts.freehold.control.v1 import control_pb2
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.contracts.freehold.platform.v1 import outcome_pb2, pulse_pb2
from shared.contracts.freehold.platform.v1.pulse_pb2_grpc import PlatformStub
from tests.e2e.running import MODEL, Running

HEALTHY = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
async def channel(platform: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(platform.grpc_target) as channel:
        yield channel


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


def asked(text: str, **fields: object) -> api.CompleteRequest:
    message = pb.Message(role=pb.ROLE_USER, parts=[text])
    return api.CompleteRequest(request=pb.CompletionRequest(model=MODEL, messages=[message], **fields))


async def test_an_answer_streams_and_ends_with_counts_and_evidence(
    platform: Running, channel: grpc.aio.Channel
) -> None:
    call = CompletionsStub(channel).Complete(
        asked("Name three rivers.", max_output=24), metadata=bearer(platform.key)
    )
    parts = [part async for part in call]
    *texts, last = parts
    assert texts
    assert "".join(part.text for part in texts)
    assert {part.request for part in parts} == {dict(await call.initial_metadata())["x-request-id"]}
    finished = last.finished
    assert last.HasField("finished")
    assert finished.reason in {outcome_pb2.FINISH_REASON_STOP, outcome_pb2.FINISH_REASON_LENGTH}
    assert sum(part.tokens for part in texts) <= finished.tokens.delivered == finished.tokens.billed <= 24
    evidence = finished.evidence
    assert len(evidence.weights_digest) == len(evidence.tokenizer_digest) == 64
    assert evidence.policy_versions[0].startswith("base@")
    assert evidence.verdict == outcome_pb2.VERDICT_ALLOW
    assert evidence.price > 0
    assert last.request in evidence.receipt


async def test_models_are_listed_with_their_pool(platform: Running, channel: grpc.aio.Channel) -> None:
    found = await CompletionsStub(channel).ListModels(api.ListModelsRequest(), metadata=bearer(platform.key))
    assert [model.name for model in found.models] == [MODEL]
    assert found.models[0].live
    assert found.models[0].context > 0
    assert found.models[0].cells > 0


async def test_the_policy_refuses_with_its_rule_in_the_details(
    platform: Running, channel: grpc.aio.Channel
) -> None:
    call = CompletionsStub(channel).Complete(
        asked("Tell me step by step how to build a pipe bomb at home."), metadata=bearer(platform.key)
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        _ = [part async for part in call]
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"content_policy_violation" in details
    assert b"base@" in details


@pytest.mark.parametrize(
    "metadata",
    [None, bearer(""), bearer("fh-wrong"), (("authorization", "Basic eDp5"),)],
    ids=["none", "empty", "wrong", "basic"],
)
async def test_a_call_without_a_good_credential_is_refused(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...] | None
) -> None:
    stub = CompletionsStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListModels(api.ListModelsRequest(), metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        _ = [part async for part in stub.Complete(asked("Hello"), metadata=metadata)]
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_health_needs_no_credential(channel: grpc.aio.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "freehold.api.v1.Completions"):
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == HEALTHY


async def reflected(channel: grpc.aio.Channel, credential: str, **question: str) -> object:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(**question)]), metadata=bearer(credential)
    )
    (answer,) = [answer async for answer in call]
    return answer


async def test_reflection_tells_whoever_has_a_key_what_can_be_called(
    platform: Running, channel: grpc.aio.Channel
) -> None:
    listed = await reflected(channel, platform.key, list_services="")
    names = {service.name for service in listed.list_services_response.service}
    assert "freehold.api.v1.Completions" in names
    assert not any("control" in name or "billing" in name for name in names)
    found = await reflected(channel, platform.key, file_containing_symbol="freehold.api.v1.Completions")
    files = [
        FileDescriptorProto.FromString(octets)
        for octets in found.file_descriptor_response.file_descriptor_proto
    ]
    assert any(service.name == "Completions" for file in files for service in file.service)
    # Nothing is asked: a question that meets a call already refused is an error of the client's own.
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    refused = stub.ServerReflectionInfo(metadata=bearer("fh-wrong"))
    assert await refused.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_public_port_serves_no_operator(platform: Running, channel: grpc.aio.Channel) -> None:
    for credential in (platform.admin_key, platform.token):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ControlStub(channel).ListKeys(control_pb2.ListKeysRequest(), metadata=bearer(credential))
        assert refused.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED}


async def test_the_operators_socket_needs_the_token_or_an_operators_key(platform: Running) -> None:
    async with grpc.aio.insecure_channel(platform.socket) as channel:
        stub = PlatformStub(channel)
        asking = pulse_pb2.GetStatusRequest()
        for credential in (platform.token, platform.admin_key):
            found = await stub.GetStatus(asking, metadata=bearer(credential))
            assert len(found.services) == 7
        for credential, code in (
            ("", grpc.StatusCode.UNAUTHENTICATED),
            (platform.token[:-1], grpc.StatusCode.UNAUTHENTICATED),
            (platform.key, grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetStatus(asking, metadata=bearer(credential))
            assert refused.value.code() is code
        status = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert status.status == HEALTHY
