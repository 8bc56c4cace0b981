"""The tokenizer."""

from __future__ import annotations

from services.cli.deployed.given import Given
from services.cli.deployed.roles import Role
from services.tokenizer import app
from services.tokenizer.settings import TokenizerSettings


async def build(given: Given) -> Role:
    """It encodes for every model that is offered."""
    settings = given.named(TokenizerSettings(manifests=given.settings.offered))
    return Role(app.build(settings, given.platform, given.topics))
