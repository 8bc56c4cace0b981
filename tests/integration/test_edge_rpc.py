"""The public gRPC API: the same owner, validator and limits as HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from services.edge.rpc import FULL_NAME, METHOD
from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1.api_pb2_grpc import CompletionsStub
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError, Kind
from shared.lifecycle import READY, Readiness
from shared.statuses import GRPC
from tests.integration.edge_front import DONE, KEY, MODEL, OPERATOR_KEY, Edge, ended, running_edge, say
from tests.integration.edge_wire import fill

MESSAGES = [pb.Message(role=pb.ROLE_USER, parts=["Hello"])]


@contextlib.asynccontextmanager
async def calling(edge: Edge) -> AsyncIterator[CompletionsStub]:
    """A stub on a channel of its own."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.service.grpc_port}") as channel:
        yield CompletionsStub(channel)


def bearer(key: str = KEY) -> tuple[tuple[str, str], ...]:
    """A call's credential."""
    return (("authorization", f"Bearer {key}"),)


def asked(**fields: Any) -> api.CompleteRequest:
    """A small request with these fields."""
    return api.CompleteRequest(
        request=pb.CompletionRequest(**{"model": MODEL, "messages": MESSAGES, **fields})
    )


async def failed(stub: CompletionsStub, request: api.CompleteRequest, key: str = KEY) -> tuple[Any, Any]:
    """Status and `ErrorInfo` of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.Complete(request, metadata=bearer(key)):
            pass
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return caught.value.code(), info


async def test_an_answer_streams_and_ends_with_its_evidence() -> None:
    async with running_edge() as edge, calling(edge) as stub:
        call = stub.Complete(asked(), metadata=bearer())
        responses = [response async for response in call]
        (answer,) = edge.owner.answers
        assert dict(await call.initial_metadata())["x-request-id"] == answer.request
        assert {response.request for response in responses} == {answer.request}
        assert "".join(response.text for response in responses) == "Hello world"
        assert sum(response.tokens for response in responses) == 3
        finished = responses[-1].finished
        assert (finished.reason, finished.tokens.delivered) == (outcome.FINISH_REASON_STOP, 3)
        assert (finished.evidence.price, finished.evidence.currency) == (DONE.price, "EUR")
        assert finished.evidence.receipt == f"/v1/receipts/{answer.request}"
        assert edge.owner.left == []
        (span,) = edge.telemetry.store.spans_of(answer.request)
        assert (span.name, edge.owner.submissions[0].trace) == (METHOD, span.context)


async def test_the_owner_gets_what_http_would_give_it() -> None:
    request = asked(
        sampling=pb.Sampling(temperature=0.5, seed=2**64 - 1, top_k=3),
        stop=["a"],
        max_output=5,
        choices=1,
        user="u",
        metadata={"k": "v"},
        format=pb.Format(type=pb.Format.TYPE_TEXT),
    )
    request.idempotency_key = "once"
    async with running_edge() as edge, calling(edge) as stub:
        assert [response async for response in stub.Complete(request, metadata=bearer())]
        (submission,) = edge.owner.submissions
        request.request.format.Clear()
        request.request.ClearField("format")
        assert submission.request == request.request
        assert submission.principal.project == "one-project"
        assert (submission.streamed, submission.idempotency_key) == (True, "once")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": [pb.Message(parts=["x"])]}, "messages[0].role"),
    ({"messages": [pb.Message(role=pb.ROLE_TOOL, parts=["x"])]}, "messages[0].role"),
    ({"messages": [pb.Message(role=pb.ROLE_USER)]}, "messages[0].content"),
    ({"messages": [pb.Message(role=pb.ROLE_USER, parts=["\x00"])]}, "messages[0].content[0].text"),
    ({"messages": [pb.Message(role=pb.ROLE_USER, parts=["x"], name="n")]}, "messages[0].name"),
    (
        {"messages": [pb.Message(role=pb.ROLE_USER, parts=["x"], tool_calls=[pb.ToolCall()])]},
        "messages[0].tool_calls",
    ),
    ({"prompt": "x"}, "prompt"),
    ({"sampling": pb.Sampling(temperature=float("nan"))}, "temperature"),
    ({"sampling": pb.Sampling(temperature=3)}, "temperature"),
    ({"sampling": pb.Sampling(frequency_penalty=1)}, "frequency_penalty"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [""]}, "stop[0]"),
    ({"max_output": 2**32 - 1}, "max_tokens"),
    ({"choices": 2}, "n"),
    ({"tools": [pb.Tool(name="f")]}, "tools"),
    ({"format": pb.Format(type=pb.Format.TYPE_JSON)}, "response_format"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"user": "x" * 257}, "user"),
    ({"metadata": {"k": "x" * 513}}, "metadata.k"),
]


@pytest.mark.attack(14, 15, 20, 21, 25)
@pytest.mark.parametrize(("fields", "param"), BAD, ids=[param for _, param in BAD])
async def test_what_http_refuses_is_refused_by_the_same_name(fields: dict[str, Any], param: str) -> None:
    async with running_edge() as edge, calling(edge) as stub:
        code, info = await failed(stub, asked(**fields))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert info.metadata["param"] == param
        assert edge.owner.submissions == []


@pytest.mark.parametrize("kind", [Kind.POLICY, Kind.BUDGET, Kind.FAILED, Kind.EXPIRED, Kind.REPEATED])
@pytest.mark.parametrize("begun", [False, True])
async def test_errors_have_their_status_and_details(kind: Kind, begun: bool) -> None:
    async with running_edge() as edge, calling(edge) as stub:
        error = FreeholdError(kind, "why", rule="weapons.1", policy_version="base@1+x")
        edge.owner.play = say(*(["Hel"] if begun else []), end=ended(error))
        code, info = await failed(stub, asked())
        assert code is GRPC[kind]
        assert (info.reason, info.metadata["code"], info.metadata["rule"]) == (
            kind.name,
            kind.value,
            "weapons.1",
        )


async def test_a_refusal_for_load_says_when_to_come_back() -> None:
    def refuse(*_: object) -> None:
        raise FreeholdError(Kind.OVERLOADED, "full", retry_after=1.2501)

    async with running_edge() as edge, calling(edge) as stub:
        edge.owner.play = refuse
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.Complete(asked(), metadata=bearer()):
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
        retry = error_details_pb2.RetryInfo()
        assert status is not None
        assert status.details[1].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() == 1251


@pytest.mark.attack(1, 6)
async def test_credentials_and_rights() -> None:
    async with running_edge() as edge, calling(edge) as stub:
        for key in ("wrong", ""):
            assert (await failed(stub, asked(), key))[0] is grpc.StatusCode.UNAUTHENTICATED
        edge.configuration.keys[f"key-{OPERATOR_KEY}"].roles[:] = ["usage"]
        assert (await failed(stub, asked(), OPERATOR_KEY))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert (await failed(stub, asked(model="other")))[0] is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListModels(api.ListModelsRequest())
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        listed = await stub.ListModels(api.ListModelsRequest(), metadata=bearer())
        assert [model.name for model in listed.models] == [MODEL]
        assert edge.owner.submissions == []


async def test_an_idempotency_key_is_bounded() -> None:
    async with running_edge() as edge, calling(edge) as stub:
        for key in ("x" * 256, "a\nb", "é"):
            request = asked()
            request.idempotency_key = key
            assert (await failed(stub, request))[1].metadata["param"] == "idempotency_key"


@pytest.mark.attack(12, 45)
async def test_a_message_above_the_limit_is_refused() -> None:
    async with running_edge() as edge, calling(edge) as stub:
        large = [pb.Message(role=pb.ROLE_USER, parts=["x" * 2_000_000])]
        call = stub.Complete(asked(messages=large), metadata=bearer())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert edge.owner.submissions == []


async def test_a_call_that_is_cancelled_tells_the_owner() -> None:
    async with running_edge() as edge, calling(edge) as stub:
        edge.owner.play = say("Hel", end=None)
        call = stub.Complete(asked(), metadata=bearer())
        assert (await call.read()).text == "Hel"
        call.cancel()
        async with asyncio.timeout(5):
            await edge.owner.gone.wait()
        assert edge.owner.left == ["client_gone"]


async def test_a_reader_that_takes_nothing_is_cut_and_holds_a_bounded_buffer() -> None:
    async with running_edge(stalled_s=0.3) as edge, calling(edge) as stub:
        edge.owner.play = say(end=None)
        call = stub.Complete(asked(), metadata=bearer())
        await call.initial_metadata()
        (answer,) = edge.owner.answers
        async with asyncio.timeout(20):
            assert await fill(answer) < 16_000_000, "the client's own window is 4 MB and more"
            await edge.owner.gone.wait()
        assert edge.owner.left[0] == "slow_reader"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.ABORTED


@pytest.mark.attack(42)
async def test_a_failure_inside_tells_nothing_of_itself() -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("secret detail")

    async with running_edge() as edge, calling(edge) as stub:
        edge.owner.play = explode
        code, info = await failed(stub, asked())
        assert code is grpc.StatusCode.INTERNAL
        assert "secret" not in str(info)


@pytest.mark.attack(45)
@pytest.mark.parametrize(
    ("setting", "key", "shown"), [(True, KEY, True), (False, KEY, False), (True, "", False)]
)
async def test_reflection_is_a_setting_and_needs_a_credential(setting: bool, key: str, shown: bool) -> None:
    async with (
        running_edge(grpc_reflection=setting) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.service.grpc_port}") as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(metadata=bearer(key))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await call.done_writing()
        names: set[str] = set()
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for response in call:
                names = {service.name for service in response.list_services_response.service}
        assert (FULL_NAME in names) is shown


async def test_an_edge_that_has_not_read_its_keys_tells_callers_to_come_again() -> None:
    async with running_edge() as edge, calling(edge) as stub:
        edge.owner.state = Readiness(False, "the configuration has not been read to its end and a marker")
        assert (await failed(stub, asked(), "fh-unread"))[0] is grpc.StatusCode.UNAVAILABLE
        edge.owner.state = READY
        assert (await failed(stub, asked(), "fh-unread"))[0] is grpc.StatusCode.UNAUTHENTICATED
