"""Keys for measurements: no bound on requests in flight, and the longest deadline."""

from __future__ import annotations

import asyncio

from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.rpc.channel import connect

PROJECT = "demo-project"


def make_keys(target: str, token: str, count: int) -> list[str]:
    """Secrets of new keys of the demo's project; `target` is control's gRPC."""
    return asyncio.run(_make(target, token, count))


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
