"""The port to a device's driver: what an operator watches of the device (pure)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Facts(NamedTuple):
    """One device now; None for what its driver does not tell."""

    device: str
    """Few and known: `nvidia-0`, `ascend-0-0`."""
    use: float | None = None
    """Share of the time in which it worked, 0 to 1."""
    memory: int | None = None
    """Bytes, as is `memory_used`."""
    memory_used: int | None = None
    power: float | None = None
    """Watts."""
    temperature: float | None = None
    """Degrees Celsius."""


class DriverError(Exception):
    """The driver's library is not there, or does not work."""


class Driver(Protocol):
    """The devices of one maker. Its calls may block for a tenth of a second."""

    def read(self) -> list[Facts]:
        """Every device. Raises `DriverError`."""


Load = Callable[[], Driver]
"""Raises `DriverError` where there is no such driver."""
