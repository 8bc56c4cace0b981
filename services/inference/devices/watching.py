"""Asks the drivers of this machine now and then, on a thread of their own, and shows what they told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from services.inference.devices import dcmi, nvml
from services.inference.devices.facts import Driver, DriverError, Facts, Load
from shared.clock import Clock
from shared.executor import Executor
from shared.telemetry import Telemetry

log = logging.getLogger(__name__)

PERIOD_S: Final = 10.0
KNOWN: Final[tuple[Load, ...]] = (nvml.load, dcmi.load)

_SHOWN: Final[tuple[tuple[str, str, Callable[[Facts], float | None]], ...]] = (
    ("device_use_ratio", "Share of the time in which the device worked.", lambda one: one.use),
    ("device_memory_bytes", "Memory of the device.", lambda one: one.memory),
    ("device_memory_used_bytes", "Used memory of the device.", lambda one: one.memory_used),
    ("device_power_watts", "Power that the device draws.", lambda one: one.power),
    ("device_temperature_celsius", "Temperature of the device's chip.", lambda one: one.temperature),
)


class Devices:
    """Where no driver is found it asks once and is done: a machine of CPUs tells by its processes."""

    def __init__(
        self, telemetry: Telemetry, clock: Clock, make: Callable[[], Executor], known: Sequence[Load] = KNOWN
    ) -> None:
        """`make` gives the thread on which the libraries are loaded and asked."""
        self._clock = clock
        self._make = make
        self._known = known
        self._facts: list[Facts] = []
        metrics = telemetry.metrics("inference")
        for name, text, choose in _SHOWN:
            metrics.read_each(name, text, ("device",), self._reader(choose))

    def _reader(self, choose: Callable[[Facts], float | None]) -> Callable[[], dict[tuple[str, ...], float]]:
        def read() -> dict[tuple[str, ...], float]:
            found = {one.device: choose(one) for one in self._facts}
            return {(device,): number for device, number in found.items() if number is not None}

        return read

    async def run(self) -> None:
        """Ask for ever; return where there is nobody to ask."""
        executor = self._make()
        try:
            drivers = await executor.run(self._load)
            while drivers:
                self._facts = await executor.run(_ask, drivers)
                await self._clock.sleep(PERIOD_S)
        except Exception:
            log.exception("devices are not asked any more")  # the worker does without
        finally:
            self._facts = []
            executor.close()

    def _load(self) -> list[Driver]:
        drivers = []
        for load in self._known:
            try:
                drivers.append(load())
            except DriverError as error:
                log.debug("no device is asked: %s", error)
        return drivers


def _ask(drivers: Sequence[Driver]) -> list[Facts]:
    found: list[Facts] = []
    for driver in drivers:
        try:
            found += driver.read()
        except DriverError as error:
            log.warning("a device's driver does not answer: %s", error)
    return found
