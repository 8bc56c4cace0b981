"""Moderation."""

from __future__ import annotations

from services.cli.deployed.given import Given
from services.cli.deployed.roles import Role
from services.moderation import app
from services.moderation.settings import ModerationSettings


async def build(given: Given) -> Role:
    """Its packs come with the configuration."""
    settings = given.named(ModerationSettings())
    return Role(app.build(settings, given.platform, given.topics))
