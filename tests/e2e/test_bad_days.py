"""What goes wrong on a running platform: nothing is let out, nothing is lost."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf.message import Message

from services.control.seed import ORGANISATION
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from tests.e2e.conftest import Start
from tests.e2e.disk import Disk, small_disk
from tests.e2e.running import MODEL, Running, until


def ask(running: Running, tokens: int = 5) -> httpx.Response:
    message = {"role": "user", "content": "Hello!"}
    return httpx.post(
        f"{running.base_url}/chat/completions",
        json={"model": MODEL, "messages": [message], "max_tokens": tokens},
        headers={"Authorization": f"Bearer {running.key}"},
        timeout=60.0,
    )


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A platform that others get in the way of."""
    running = Running(tmp_path_factory.mktemp("calm") / "home", "synthetic")
    yield running
    assert running.stop() == 0, running.output


async def put(running: Running, method: str, request: Message) -> None:
    async with grpc.aio.insecure_channel(running.socket) as channel:
        call = getattr(ControlStub(channel), method)
        await call(request, metadata=(("authorization", f"Bearer {running.token}"),))


async def test_a_pack_that_cannot_be_compiled_lets_nothing_out_until_it_can(calm: Running) -> None:
    organisation = config.Organisation(
        id=ORGANISATION,
        name="Demo organisation",
        time_zone="UTC",
        currency="USD",
        policies=["base", "extra"],
    )
    broken = config.Policy(id="extra", pack="rules: [", version="extra@1+0")
    await put(calm, "PutPolicy", control_pb2.PutPolicyRequest(policy=broken))
    await put(calm, "PutOrganisation", control_pb2.PutOrganisationRequest(organisation=organisation))
    until(lambda: ask(calm).status_code == httpx.codes.SERVICE_UNAVAILABLE, "the broken pack to count")
    assert "content" not in ask(calm).json().get("choices", [{}])[0]
    organisation.policies[:] = ["base"]
    await put(calm, "PutOrganisation", control_pb2.PutOrganisationRequest(organisation=organisation))
    until(lambda: ask(calm).status_code == httpx.codes.OK, "service without it")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path) as disk:
        yield disk


@pytest.mark.timeout(180)
def test_a_full_disk_serves_nothing_says_so_and_serves_again(start: Start, disk: Disk) -> None:
    running = start(home=disk.path / "home")
    assert ask(running).status_code == httpx.codes.OK
    disk.fill(running.process.pid)
    assert ask(running).status_code == httpx.codes.SERVICE_UNAVAILABLE
    until(lambda: running.command("status", check=False).returncode == 1, "billing to say why")
    assert "billing.db" in running.command("status", check=False).stdout.replace("\n", "")
    begun = time.monotonic()
    assert ask(running).status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert time.monotonic() - begun < 5.0
    disk.free(running.process.pid)
    until(lambda: ask(running).status_code == httpx.codes.OK, "service on a disk with room", 60.0)
    running.verify_ledger()
    assert running.stop() == 0
    assert "Traceback" not in running.output
    again = start(home=disk.path / "home")
    assert again.key == running.key
    again.verify_ledger()


def test_sigterm_ends_streams_with_a_word_and_all_is_there_at_the_next_start(
    start: Start, tmp_path: Path
) -> None:
    ports = {f"FREEHOLD_{name}_PORT": str(free_port()) for name in ("HTTP", "GRPC")}
    slow = {"FREEHOLD_INFERENCE_TOKENS_PER_SECOND": "20", "FREEHOLD_STOP_GRACE_S": "2"}
    first = start(**ports, **slow)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2000}
    headers = {"Authorization": f"Bearer {first.key}"}
    with httpx.stream(
        "POST", f"{first.base_url}/chat/completions", json={**body, "stream": True}, headers=headers
    ) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        request = response.headers["x-request-id"]
        first.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert '"error"' in rest[-1]
    assert "[DONE]" not in rest[-1]
    assert first.wait() == 0
    assert "Stopped." in first.output
    assert "Traceback" not in first.output

    kept = {
        file: (first.home / file).read_bytes() for file in ("demo.env", "audit/log.pub", "secrets/pepper-1")
    }
    second = start(**ports, **slow)
    assert kept == {file: (second.home / file).read_bytes() for file in kept}
    second.verify_ledger()
    entry = httpx.get(f"{second.base_url}/receipts/{request}", headers=headers).json()["entry"]
    assert entry["state"] in {"failed", "cancelled"}
    assert ask(second).status_code == httpx.codes.OK


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
