"""Calls between services: who is let in, who may call what, and certificates replaced while calls run."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from shared.contracts.freehold.audit.v1 import audit_pb2 as audit
from shared.contracts.freehold.audit.v1 import audit_pb2_grpc
from shared.errors import FreeholdError
from shared.rpc.auth import caller
from shared.rpc.channel import connect
from shared.rpc.identity import Identity, channel_credentials
from shared.rpc.server import RpcServer, translated
from tests.integration.rpc_world import AUDIT, CALLERS
from tests.integration.test_rpc_credentials import METHODS
from tests.servers.identities import House

PATIENCE_S = 20.0


class Receipts(audit_pb2_grpc.AuditServicer):
    """`GetReceipt`, which an edge may call, waits where it is told to; nobody may call the other."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    @translated
    async def GetReceipt(self, request: audit.GetReceiptRequest, _: object) -> audit.GetReceiptResponse:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        return audit.GetReceiptResponse(entry=f"{request.request} {caller().key}".encode())

    @translated
    async def GetCheckpoint(self, _: object, __: object) -> audit.GetCheckpointResponse:
        return audit.GetCheckpointResponse(checkpoint="reached")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house", ("audit", "edge", "tokenizer", "operator"))


@asynccontextmanager
async def served(identity: Identity | None) -> AsyncIterator[tuple[Receipts, str]]:
    server, servicer = RpcServer(CALLERS.get, certificate=identity), Receipts()
    audit_pb2_grpc.add_AuditServicer_to_server(servicer, server.server)
    port = await server.start("127.0.0.1:0", [AUDIT], reflect=True)
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        servicer.gate.set()
        await server.stop(0)


async def ask(target: str, identity: Identity | None, credential: str = "good") -> str:
    async with connect(target, credential, service="audit", identity=identity) as channel:
        stub = audit_pb2_grpc.AuditStub(channel)
        answer = await stub.GetReceipt(audit.GetReceiptRequest(request="r"), timeout=PATIENCE_S)
        return str(answer.entry, "utf-8")


async def refusal(target: str, identity: Identity | None, credential: str = "good") -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await ask(target, identity, credential)
    code: grpc.StatusCode = failed.value.code()
    return code


async def until(held: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not held():  # noqa: ASYNC110 - threads of gRPC's own move it
            await asyncio.sleep(0.01)


async def test_the_right_certificate_and_the_right_token_are_let_in(house: House) -> None:
    async with served(house.identity("audit")) as (_, target):
        assert await ask(target, house.identity("edge")) == "r k"
        assert await ask(target, house.identity("operator"), "root") == "r operator"


async def test_whoever_has_no_good_certificate_is_not_let_in(house: House, tmp_path: Path) -> None:
    other = House(tmp_path / "other", ("edge", "audit"))
    house.expire("tokenizer")
    expired = house.files("tokenizer")
    ca, _, _ = house.files("edge")
    assert ca is not None
    assert expired.certificate is not None
    shown = {
        "none": grpc.ssl_channel_credentials(ca.read_bytes()),
        "another authority's": grpc.ssl_channel_credentials(
            ca.read_bytes(), *2 * [other.identity("edge").pem().chain]
        ),
        "expired": grpc.ssl_channel_credentials(ca.read_bytes(), *2 * [expired.certificate.read_bytes()]),
    }
    options = [("grpc.ssl_target_name_override", "audit")]
    async with served(house.identity("audit")) as (servicer, target):
        for name, credentials in shown.items():
            async with grpc.aio.secure_channel(target, credentials, options=options) as channel:
                stub = audit_pb2_grpc.AuditStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await stub.GetReceipt(audit.GetReceiptRequest(), timeout=PATIENCE_S)
                assert failed.value.code() is grpc.StatusCode.UNAVAILABLE, name
        assert await refusal(target, None) is grpc.StatusCode.UNAVAILABLE, "plain text"
        assert servicer.waiting == 0
    async with served(None) as (_, target):
        assert await refusal(target, house.identity("edge")) is grpc.StatusCode.UNAVAILABLE, "no TLS there"
    async with served(other.identity("audit")) as (_, target):
        assert await refusal(target, house.identity("edge")) is grpc.StatusCode.UNAVAILABLE, (
            "a stranger there"
        )


async def test_a_service_that_is_not_who_was_called_gets_nothing(house: House) -> None:
    async with served(house.identity("tokenizer")) as (_, target):
        assert await refusal(target, house.identity("edge")) is grpc.StatusCode.UNAVAILABLE


async def test_a_token_does_not_make_up_for_the_wrong_service(house: House) -> None:
    async with served(house.identity("audit")) as (_, target):
        found = await refusal(target, house.identity("tokenizer"), "root")
        assert found is grpc.StatusCode.PERMISSION_DENIED
        assert await refusal(target, house.identity("edge"), "") is grpc.StatusCode.UNAUTHENTICATED
        assert await refusal(target, house.identity("edge"), "x") is grpc.StatusCode.UNAUTHENTICATED


async def test_what_is_not_written_is_refused_to_all_but_the_operator(house: House) -> None:
    async with served(house.identity("audit")) as (_, target):
        for name, code in (("edge", "PERMISSION_DENIED"), ("operator", "OK")):
            async with connect(target, "root", service="audit", identity=house.identity(name)) as channel:
                call = audit_pb2_grpc.AuditStub(channel).GetCheckpoint(audit.GetCheckpointRequest())
                assert (await call.code()).name == code


@pytest.mark.parametrize("name", ["edge", "tokenizer"])
async def test_every_method_of_every_contract_is_refused_to_a_stranger(house: House, name: str) -> None:
    """Also reflection, and what streams; health alone is for any service."""
    async with served(house.identity("audit")) as (_, target):
        credentials = channel_credentials(house.identity(name).pem())
        options = [("grpc.ssl_target_name_override", "audit")]
        async with grpc.aio.secure_channel(target, credentials, options=options) as channel:
            ask_health = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await ask_health(b"", timeout=PATIENCE_S) == b"\x08\x02"
            good = (("authorization", "Bearer root"),)
            codes = {
                path: await channel.unary_unary(path)(b"", metadata=good, timeout=PATIENCE_S).code()
                for path in METHODS
                if path.startswith(f"/{AUDIT}/")
            }
            stream = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            reflected = await stream(iter([b""]), metadata=good, timeout=PATIENCE_S).code()
    refused = {path for path, code in codes.items() if code is grpc.StatusCode.PERMISSION_DENIED}
    allowed = {f"/{AUDIT}/GetReceipt"} if name == "edge" else set()
    assert refused == set(codes) - allowed
    assert reflected is grpc.StatusCode.PERMISSION_DENIED


async def test_renewal_while_calls_run_loses_none(house: House) -> None:
    """Both sides' files are replaced again and again, the authority as well, under calls without a pause."""
    stopping, answered = False, 0

    async def go_on(channel: grpc.aio.Channel, number: int) -> None:
        nonlocal answered
        stub = audit_pb2_grpc.AuditStub(channel)
        while not stopping:
            await stub.GetReceipt(audit.GetReceiptRequest(request=str(number)), timeout=PATIENCE_S)
            answered += 1

    async def moved_on() -> None:
        wanted = answered + 20
        await until(lambda: answered >= wanted)

    async with (
        served(house.identity("audit")) as (servicer, target),
        connect(target, "good", service="audit", identity=house.identity("edge")) as channel,
    ):
        callers = [asyncio.ensure_future(go_on(channel, number)) for number in range(4)]
        await moved_on()
        for renewed in ("edge", "audit", "edge"):
            house.renew(renewed)
            await moved_on()
        house.authority().replace()
        await moved_on()
        for renewed in ("audit", "edge"):
            house.renew(renewed)
            await moved_on()
        house.renew("tokenizer")
        house.renew("operator")
        house.authority().finish()
        await moved_on()
        servicer.gate.clear()
        await until(lambda: servicer.waiting == 4)
        house.renew("edge")
        one_more = asyncio.ensure_future(
            audit_pb2_grpc.AuditStub(channel).GetReceipt(audit.GetReceiptRequest(), timeout=PATIENCE_S)
        )
        await until(lambda: servicer.waiting == 5)
        stopping = True
        servicer.gate.set()
        await asyncio.gather(*callers, one_more)
    assert answered > 100


async def test_a_renewed_certificate_is_the_one_that_is_shown(house: House) -> None:
    async with served(house.identity("audit")) as (_, target):
        before = await shown_by(target, house)
        assert await shown_by(target, house) == before
        house.renew("audit")
        assert await shown_by(target, house) != before


async def test_files_that_are_no_good_change_nothing_until_good_ones_come(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    _, path, _ = house.files("audit")
    assert path is not None
    async with served(house.identity("audit")) as (_, target):
        before = await shown_by(target, house)
        path.write_text("half a file")
        assert await shown_by(target, house) == before
        house.expire("audit")
        assert await shown_by(target, house) == before
        assert "certificate before it stays in use" in caplog.text
        assert "PRIVATE" not in caplog.text
        path.unlink()
        assert await shown_by(target, house) == before
        house.renew("audit")
        assert await shown_by(target, house) != before


async def shown_by(target: str, house: House) -> bytes:
    """The server's certificate, by Python's own TLS, which must come to terms with gRPC's."""
    ca, certificate, _ = house.files("edge")
    context = ssl.create_default_context(cafile=ca)
    assert certificate is not None
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2"])
    host, port = target.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="audit")
    found = writer.get_extra_info("ssl_object")
    assert found.version() == "TLSv1.3"
    shown: bytes = found.getpeercert(binary_form=True)
    writer.close()
    return shown


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_tls_of_before_1_2_is_not_spoken(house: House) -> None:
    """Two clients alike but for the version, so that nothing else can be what is refused."""
    _, certificate, _ = house.files("edge")
    assert certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1
    async with served(house.identity("audit")) as (_, target):
        host, port = target.split(":")
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=context, server_hostname="audit")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="audit")
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.close()


@pytest.mark.parametrize("fault", ["missing", "torn", "expired", "of another authority"])
def test_a_process_with_files_that_are_no_good_does_not_start(
    house: House, tmp_path: Path, fault: str
) -> None:
    ca, path, _ = house.files("edge")
    assert path is not None
    assert ca is not None
    if fault == "missing":
        path.unlink()
    elif fault == "torn":
        path.write_bytes(path.read_bytes()[:300])
    elif fault == "expired":
        house.expire("edge")
    else:
        ca.write_bytes((House(tmp_path / "other", ()).folder / "authority" / "ca.pem").read_bytes())
    with pytest.raises(FreeholdError) as failed:
        house.identity("edge")
    assert "edge" in failed.value.message
    assert "BEGIN" not in failed.value.message
