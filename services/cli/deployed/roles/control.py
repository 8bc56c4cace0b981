"""Control: publishes what the installation offers, once it has started."""

from __future__ import annotations

from services.cli.deployed.given import Given, peppers
from services.cli.deployed.roles import Role
from services.cli.deployed.storing import open_database
from services.cli.offer import offered_model, offered_policies
from services.control import app
from services.control.seed import put_platform
from services.control.settings import ControlSettings
from shared.models.manifest import load_manifest


async def build(given: Given) -> Role:
    """Raises `FreeholdError` for a policy pack that does not load, `ManifestError` for a manifest."""
    settings, topics = given.settings, given.topics
    models = [offered_model(settings.engine, load_manifest(path)) for path in settings.offered]
    policies = offered_policies(settings.policies)
    numbers = ControlSettings(lanes=topics["replies"].partitions, seats=topics["work"].partitions)
    service = app.build(numbers, given.platform, await open_database(given, "control"), peppers(settings))
    return Role(service, lambda: put_platform(service.keeper, models, policies))
