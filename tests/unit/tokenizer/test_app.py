"""The service as a process runs it: loads, waits for the configuration, answers on the bus and over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from services.tokenizer.app import TokenizerService, build
from services.tokenizer.settings import TokenizerSettings
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.local import LocalBus
from shared.bus.ports import Start, TopicPartition
from shared.bus.topics import load_topics
from shared.callers import OPERATOR
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.control.v1 import config_pb2
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.contracts.freehold.tokenizer.v1 import events_pb2, tokenizer_pb2, tokenizer_pb2_grpc
from shared.errors import FreeholdError
from shared.host import system_host
from shared.models.manifest import Manifest
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc.channel import connect
from shared.rpc.server import RpcServer
from shared.telemetry import Telemetry, TelemetrySettings

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOPICS = load_topics("embedded")
CHAT = [pb.Message(role=pb.ROLE_USER, parts=["<|im_start|>system ", "สวัสดี"])]


@asynccontextmanager
async def running_platform() -> AsyncIterator[Platform]:
    host = system_host()
    bus = LocalBus(host, TOPICS, None)
    await bus.start()
    configuration = Configuration()
    config = ConfigReader(bus, host, configuration)
    await config.start()
    pulses = Pulses(bus, host)
    await pulses.start()
    yield Platform(host, bus, Telemetry(host, TelemetrySettings()), configuration, config, pulses)
    await pulses.stop(0)
    await config.stop(0)
    await bus.close()


async def publish_model(platform: Platform, manifest: Manifest, digest: str = "") -> None:
    value = config_pb2.Model(
        name=manifest.name,
        tokenizer_digest=digest or manifest.tokenizer_sha256,
        template_digest=manifest.template_sha256,
    )
    key = config_key("model", manifest.name)
    await platform.bus.publish("config", value.SerializeToString(), key=key)
    marker = config_pb2.Marker(epoch=1)
    await platform.bus.publish("config", marker.SerializeToString(), key=config_key("marker", "control"))


async def until_ready(service: TokenizerService) -> None:
    async with asyncio.timeout(20):
        while not service.readiness().ready:  # noqa: ASYNC110  # readiness is asked, as a probe asks it
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform() -> AsyncIterator[Platform]:
    async with running_platform() as platform:
        yield platform


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(platform: Platform, manifest: Manifest) -> AsyncIterator[TokenizerService]:
    await publish_model(platform, manifest)
    service = build(TokenizerSettings(), platform, TOPICS)
    assert not service.readiness().ready
    await service.start()
    await until_ready(service)
    yield service
    await service.stop(platform.host.clock.monotonic() + 5)


async def test_a_request_on_the_bus_is_answered(
    platform: Platform, service: TokenizerService, manifest: Manifest
) -> None:
    lane = TopicPartition("replies", 2)
    replies = await platform.bus.assign([lane], Start.END)
    event = edge.RequestAccepted(request=pb.CompletionRequest(model=manifest.name, messages=CHAT))
    request = "01890a5d-ac96-774b-bcce-b302099a8057"
    envelope = Envelope("RequestAccepted", "e", 1, request=request, owner=1, lane=2, config_offset=2)
    await platform.bus.publish(
        "requests", event.SerializeToString(), envelope.headers(), key=request.encode()
    )
    async with asyncio.timeout(10):
        while not (found := await replies.poll(10, 1.0)):
            pass
    [record] = found[lane]
    assert parse_envelope(record.headers).type == "Encoded"
    assert events_pb2.Encoded.FromString(record.value).tokenizer_digest == manifest.tokenizer_sha256
    await replies.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stub(service: TokenizerService) -> AsyncIterator[Any]:
    server = RpcServer(lambda secret: OPERATOR if secret == "s3cret" else None)
    names = service.register(server.server)
    assert names == ["freehold.tokenizer.v1.Tokenizer"]
    port = await server.start("127.0.0.1:0", names, reflect=False)
    async with connect(f"127.0.0.1:{port}", "s3cret") as channel:
        yield tokenizer_pb2_grpc.TokenizerStub(channel)
    await server.stop(0)


async def test_grpc_encodes_and_decodes(stub: Any, manifest: Manifest) -> None:
    encoded = await stub.Encode(tokenizer_pb2.EncodeRequest(model=manifest.name, text="<|im_end|>你好"))
    assert encoded.tokenizer_digest == manifest.tokenizer_sha256
    assert 2 not in encoded.ids
    decoded = await stub.Decode(tokenizer_pb2.DecodeRequest(model=manifest.name, ids=encoded.ids))
    assert decoded.text == "<|im_end|>你好"


async def test_grpc_counts_and_renders(stub: Any, manifest: Manifest) -> None:
    request = pb.CompletionRequest(model=manifest.name, messages=CHAT)
    counted = await stub.CountTokens(tokenizer_pb2.CountTokensRequest(request=request))
    rendered = await stub.RenderChat(tokenizer_pb2.RenderChatRequest(request=request))
    assert counted.count == len(rendered.ids) <= counted.bound <= counted.context == manifest.context
    assert rendered.text.endswith(
        "<|im_start|>user\n<|im_start|>system สวัสดี<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered.template_digest == manifest.template_sha256
    # System, user and assistant were begun by the template; the user's own `<|im_start|>` is text.
    assert [token for token in rendered.ids if token == 1] == [1, 1, 1]


@pytest.mark.parametrize(
    ("method", "request_", "status"),
    [
        ("Encode", tokenizer_pb2.EncodeRequest(model="nobody", text="x"), grpc.StatusCode.NOT_FOUND),
        ("Encode", tokenizer_pb2.EncodeRequest(text="x"), grpc.StatusCode.NOT_FOUND),
        (
            "Encode",
            tokenizer_pb2.EncodeRequest(model="smollm2-135m-instruct", text="x" * (1 << 20) + "x"),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ),
        (
            "Decode",
            tokenizer_pb2.DecodeRequest(model="smollm2-135m-instruct", ids=[49_152]),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            "RenderChat",
            tokenizer_pb2.RenderChatRequest(
                request=pb.CompletionRequest(
                    model="smollm2-135m-instruct", messages=[pb.Message(role=pb.ROLE_TOOL, parts=["x"])]
                )
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_grpc_says_what_is_wrong(
    stub: Any, method: str, request_: Any, status: grpc.StatusCode
) -> None:
    call: Awaitable[Any] = getattr(stub, method)(request_)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == status


async def test_another_vocabulary_than_the_configurations_is_not_ready(manifest: Manifest) -> None:
    async with running_platform() as platform:
        await publish_model(platform, manifest, digest="0" * 64)
        service = build(TokenizerSettings(), platform, TOPICS)
        await service.start()
        await platform.config.wait_ready()
        assert "not the configured one" in service.readiness().reason
        await service.stop(platform.host.clock.monotonic() + 5)


async def test_a_model_that_is_refused_stops_the_start(tmp_path: Path) -> None:
    async with running_platform() as platform:
        service = build(TokenizerSettings(manifests=(tmp_path / "none.yaml",)), platform, TOPICS)
        with pytest.raises(FreeholdError, match=r"none\.yaml"):
            await service.start()
        await service.stop(platform.host.clock.monotonic() + 5)
