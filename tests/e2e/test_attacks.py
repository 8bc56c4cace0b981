"""Attacks that only a whole platform can answer: what its logs hold, and what tenants learn of each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import pytest

from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from tests.e2e.running import MODEL, Running, until

CANARY = "canary-7f3a9c"
PROMPT = f"My secret is {CANARY}-prompt\nand it has two lines"
NAME = f'{CANARY}-model\n{{"level":"CRITICAL","message":"forged"}} %n%s'
OTHERS = f"fh-{CANARY}-key"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("attacks") / "home", "synthetic", FREEHOLD_LOG_LEVEL="DEBUG")
    yield running
    running.kill()


def ask(platform: Running, key: str, **changes: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4, **changes}
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{platform.base_url}/chat/completions", json=body, headers=headers, timeout=60.0)


def tenant(platform: Running, name: str) -> str:
    """A key of an organisation of its own."""
    said = (("authorization", f"Bearer {platform.token}"),)
    with grpc.insecure_channel(platform.socket) as channel:
        control = ControlStub(channel)
        demo = control.ListOrganisations(pb.ListOrganisationsRequest(), metadata=said).organisations[0]
        organisation = config.Organisation(
            id=name, currency=demo.currency, time_zone="UTC", policies=demo.policies
        )
        control.PutOrganisation(pb.PutOrganisationRequest(organisation=organisation), metadata=said)
        project = config.Project(id=f"{name}-project", organisation=name)
        control.PutProject(pb.PutProjectRequest(project=project), metadata=said)
        key = config.Key(organisation=name, project=project.id, roles=["complete", "usage"])
        secret = str(control.CreateKey(pb.CreateKeyRequest(key=key), metadata=said).secret)
    until(lambda: ask(platform, secret).is_success, "the new key to be known")
    return secret


@pytest.mark.attack(44)
def test_44_neither_prompts_nor_keys_nor_what_clients_make_up_are_told(platform: Running) -> None:
    assert ask(platform, platform.key).is_success
    assert ask(platform, platform.key, stream=True, user=f"{CANARY}-user").is_success
    assert ask(platform, platform.key, model=NAME).status_code == httpx.codes.NOT_FOUND
    assert ask(platform, platform.key, **{f"{CANARY}-field": 1}).status_code == httpx.codes.BAD_REQUEST
    assert ask(platform, OTHERS).status_code == httpx.codes.UNAUTHORIZED
    assert ask(platform, platform.key, messages=[{"role": CANARY, "content": "x"}]).is_client_error
    told = platform.output + httpx.get(platform.base_url.removesuffix("/v1") + "/metrics").text
    assert "http_requests" in told
    for secret in (CANARY, platform.key, platform.admin_key, platform.token, "forged"):
        assert secret not in told
    lines = [line for line in platform.output.splitlines() if line.startswith("{")]
    assert lines
    assert all(json.loads(line)["level"] != "CRITICAL" for line in lines)


@pytest.mark.attack(7, 41, 42)
def test_42_a_tenant_is_told_the_same_whoever_else_is_there(platform: Running) -> None:
    """Of what the demo's tenant does, the other sees neither objects nor counts nor cached tokens."""
    other = tenant(platform, "rival")
    with httpx.Client(base_url=platform.base_url, headers={"Authorization": f"Bearer {other}"}) as client:

        def seen() -> list[tuple[int, str]]:
            answers = [client.get(path) for path in ("/models", "/usage", "/models/none", "/receipts/none")]
            return [
                (answer.status_code, re.sub(r'"request_id":"[^"]+"', "", answer.text)) for answer in answers
            ]

        until(lambda: '"requests":' in client.get("/usage").text, "its own usage to be settled")
        before = seen()
        prompt = [{"role": "user", "content": "A prompt that two tenants share, word for word. " * 20}]
        first = ask(platform, platform.key, messages=prompt)
        again = ask(platform, platform.key, messages=prompt)
        own = cached(first)  # the template's beginning, which its own earlier prompts had too
        assert cached(again) > own
        until(
            lambda: (
                httpx.get(
                    f"{platform.base_url}/receipts/{again.headers['x-request-id']}",
                    headers={"Authorization": f"Bearer {platform.key}"},
                ).status_code
                == httpx.codes.OK
            ),
            "the demo's own receipt",
        )
        assert seen() == before
        theirs = client.get(f"/receipts/{again.headers['x-request-id']}")
        assert theirs.status_code == httpx.codes.NOT_FOUND
        assert cached(ask(platform, other, messages=prompt)) <= own


def cached(answer: httpx.Response) -> int:
    """Prompt tokens that were not computed again."""
    assert answer.is_success, answer.text
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.attack(10)
def test_10_what_is_searched_for_is_a_value(platform: Running) -> None:
    headers = {"Authorization": f"Bearer {platform.key}"}
    with httpx.Client(base_url=platform.base_url, headers=headers) as client:
        for text in ("%%%%%", "_", "' OR 1=1 --", "x'; DROP TABLE requests; --"):
            usage = client.get("/usage", params={"model": text})
            assert (usage.status_code, usage.json()["data"]) == (httpx.codes.OK, [])
            for path in ("models", "receipts"):
                assert client.get(f"/{path}/{quote(text)}").status_code == httpx.codes.NOT_FOUND
    platform.verify_ledger()


def test_the_folder_of_secrets_is_the_owners_alone(platform: Running) -> None:
    for path in Path(platform.home / "secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0
