"""The inference worker."""

from __future__ import annotations

from services.cli.deployed.given import Given
from services.cli.deployed.roles import Role
from services.inference import app
from services.inference.settings import InferenceSettings


async def build(given: Given) -> Role:
    """One engine, one model, one seat."""
    settings = InferenceSettings(engine=given.settings.engine, manifest=given.settings.manifest)
    numbers = given.numbers(seats=() if settings.seat is None else (settings.seat,))
    return Role(app.build(settings, given.platform, given.topics, numbers))
