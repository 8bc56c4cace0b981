"""Keys for measurements: no bound on requests in flight, and the longest deadline."""

from __future__ import annotations

import asyncio

import httpx

from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.rpc.channel import connect
from tests.e2e.running import until

PROJECT = "demo-project"


KNOWN_S = 30.0


def make_keys(target: str, token: str, base_url: str, count: int) -> list[str]:
    """Secrets of new keys of the demo's project, once the edge knows them; `target` is control's gRPC."""
    secrets = asyncio.run(_make(target, token, count))
    until(lambda: _known(base_url, secrets[-1]), "the edge to know the new keys", KNOWN_S)
    return secrets


def _known(base_url: str, secret: str) -> bool:
    answer = httpx.get(f"{base_url}/models", headers={"Authorization": f"Bearer {secret}"}, timeout=10.0)
    return answer.status_code == 200


async def _make(target: str, token: str, count: int) -> list[str]:
    channel = connect(target, token)
    stub = ControlStub(channel)
    found = (await stub.ListProjects(pb.ListProjectsRequest())).projects
    asked = config.Key(
        organisation=next(project.organisation for project in found if project.id == PROJECT),
        project=PROJECT,
        roles=["complete"],
        max_in_flight=100_000,
        deadline_ms=600_000,
    )
    made = [await stub.CreateKey(pb.CreateKeyRequest(key=asked)) for _ in range(count)]
    await channel.close()
    return [one.secret for one in made]
