"""Audit."""

from __future__ import annotations

from services.audit import app
from services.audit.republish import GrpcRepublish
from services.audit.settings import AuditSettings
from services.cli.deployed.given import Given
from services.cli.deployed.roles import Role
from services.cli.deployed.storing import open_database


async def build(given: Given) -> Role:
    """Raises `FreeholdError` where the log's key cannot be used."""
    settings = given.settings
    republish = GrpcRepublish(
        given.channel("billing", given.token),
        given.channel("control", given.token),
    )
    service = app.build(
        given.named(AuditSettings()),
        given.platform,
        given.topics,
        await open_database(given, "audit"),
        settings.audit_folder,
        republish,
    )
    return Role(service)
