"""The edge's own ports with TLS, where no proxy ends it: HTTP and gRPC, and a certificate that changes."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import httpx
import pytest

from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1 import api_pb2_grpc
from shared.errors import FreeholdError
from tests.integration.edge_front import CHAT, KEY, MODEL, running_edge, say
from tests.servers.identities import House

HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def house(tmp_path: Path) -> House:
    """`edge` is certified for this machine."""
    return House(tmp_path, ["edge"], ["127.0.0.1"])


def context(house: House) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=house.files("edge").ca)


async def test_both_ports_speak_tls_alone_and_take_a_new_certificate_over(house: House) -> None:
    async with running_edge(certificate=house.files("edge").certificate) as edge:
        edge.owner.play = say("Hello")
        url = f"https://127.0.0.1:{edge.service.http_port}"
        for _ in range(2):
            async with httpx.AsyncClient(verify=context(house), headers=HEADERS, trust_env=False) as client:
                answer = await client.post(f"{url}/v1/chat/completions", json=CHAT)
                assert answer.json()["choices"][0]["message"]["content"] == "Hello"
                streamed = await client.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True})
                assert streamed.text.endswith("data: [DONE]\n\n")
            assert await over_grpc(f"127.0.0.1:{edge.service.grpc_port}", house) == "Hello"
            house.renew("edge")
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(url.replace("https", "http"))
            with pytest.raises(httpx.ConnectError, match="verify failed"):
                await client.get(url)


async def over_grpc(target: str, house: House) -> str:
    ca = house.files("edge").ca
    assert ca is not None
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    asked = api.CompleteRequest()
    asked.request.model = MODEL
    asked.request.messages.add(role="ROLE_USER", parts=["Hello"])
    async with grpc.aio.secure_channel(target, credentials) as channel:
        call = api_pb2_grpc.CompletionsStub(channel).Complete(
            asked, metadata=(("authorization", f"Bearer {KEY}"),), timeout=20
        )
        return "".join([part.text async for part in call])


@pytest.mark.parametrize("fault", ["torn", "expired"])
async def test_an_edge_whose_certificate_is_no_good_does_not_start(house: House, fault: str) -> None:
    path = house.files("edge").certificate
    assert path is not None
    if fault == "torn":
        path.write_bytes(path.read_bytes()[:300])
    else:
        house.expire("edge")
    with pytest.raises(FreeholdError, match=r"identity\.pem"):
        async with running_edge(certificate=path):
            pass
