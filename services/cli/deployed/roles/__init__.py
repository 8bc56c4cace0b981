"""Each service as a process of its own: which adapters it is given. A process imports its own role alone."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from services.cli.deployed.given import Given
from shared.lifecycle import Service


async def _nothing() -> None:
    return


class Role(NamedTuple):
    """A service that is built and not started."""

    service: Service
    then: Callable[[], Awaitable[None]] = _nothing
    """What is to be done once it has started; may be done again."""


async def build(name: str, given: Given) -> Role:
    """The service of this name. Raises `FreeholdError` for settings that it cannot work with."""
    module = importlib.import_module(f"{__name__}.{name}")
    role: Role = await module.build(given)
    return role
