"""Billing."""

from __future__ import annotations

from services.billing import app
from services.billing.settings import BillingSettings
from services.cli.deployed.given import Given
from services.cli.deployed.roles import Role
from services.cli.deployed.storing import open_database


async def build(given: Given) -> Role:
    """Edges and workers live elsewhere, so nothing is known of what an earlier life of theirs left."""
    settings = given.named(BillingSettings(sole_process=False))
    return Role(app.build(settings, given.platform, given.topics, await open_database(given, "billing")))
