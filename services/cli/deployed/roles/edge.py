"""The edge."""

from __future__ import annotations

from services.cli.deployed.given import Given
from services.cli.deployed.roles import Role
from services.edge import app
from services.edge.owner.owner import Owner, OwnerSettings
from services.edge.settings import EdgeSettings
from services.edge.sources import GrpcReceipts, GrpcUsage


async def build(given: Given) -> Role:
    """Its clients' keys are all it knows: usage and receipts are asked for in the client's own name."""
    settings = EdgeSettings()
    service = app.build(
        settings,
        given.platform,
        Owner(given.platform, given.numbers(lanes=settings.lanes), OwnerSettings(settings.limits)),
        given.credentials(),
        GrpcUsage(given.channel("billing")),
        GrpcReceipts(given.channel("audit")),
    )
    return Role(service)
