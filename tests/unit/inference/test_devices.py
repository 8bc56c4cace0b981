"""What devices tell is shown as it was told, and a machine without any is asked once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.inference.devices import dcmi, nvml
from services.inference.devices.dcmi import Dcmi
from services.inference.devices.facts import DriverError, Facts
from services.inference.devices.nvml import Nvml
from services.inference.devices.watching import KNOWN, PERIOD_S, Devices
from shared.executor import ThreadExecutor
from shared.host import system_host
from shared.telemetry import Telemetry, TelemetrySettings
from tests.integration.stepped_clock import SteppedClock, until


class NvmlLibrary:
    """Two devices; the second tells no power."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count[0] = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, device: Any) -> int:
        device[0] = nvml.ffi.cast("void *", index + 1)
        return 0

    def nvmlDeviceGetUtilizationRates(self, device: Any, percent: Any) -> int:
        percent.gpu, percent.memory = 87, 40
        return 0

    def nvmlDeviceGetMemoryInfo(self, device: Any, told: Any) -> int:
        told.total, told.used = 80 << 30, 60 << 30
        return 0

    def nvmlDeviceGetPowerUsage(self, device: Any, milliwatts: Any) -> int:
        milliwatts[0] = 312_500
        return 3 if int(nvml.ffi.cast("uintptr_t", device)) == 2 else 0

    def nvmlDeviceGetTemperature(self, device: Any, sensor: int, celsius: Any) -> int:
        celsius[0] = 61
        return sensor


class DcmiLibrary:
    """One card of two chips, the card's number being 3."""

    def dcmi_init(self) -> int:
        return 0

    def dcmi_get_card_list(self, count: Any, cards: Any, length: int) -> int:
        count[0], cards[0] = 1, 3
        return 0

    def dcmi_get_device_num_in_card(self, card: int, count: Any) -> int:
        count[0] = 2
        return 0

    def dcmi_get_device_utilization_rate(self, card: int, device: int, what: int, percent: Any) -> int:
        percent[0] = 50 + what
        return 0

    def dcmi_get_device_hbm_info(self, card: int, device: int, told: Any) -> int:
        told.memory_size, told.memory_usage = 65_536, 32_768
        return 0

    def dcmi_get_device_power_info(self, card: int, device: int, tenths: Any) -> int:
        tenths[0] = 1624
        return 0

    def dcmi_get_device_temperature(self, card: int, device: int, celsius: Any) -> int:
        celsius[0] = 47
        return -8001 if device else 0


def test_what_nvml_tells() -> None:
    first = Facts("nvidia-0", 0.87, 80 << 30, 60 << 30, 312.5, 61.0)
    assert Nvml(NvmlLibrary()).read() == [first, first._replace(device="nvidia-1", power=None)]


def test_what_dcmi_tells() -> None:
    first = Facts("ascend-3-0", 0.52, 64 << 30, 32 << 30, 162.4, 47.0)
    assert Dcmi(DcmiLibrary()).read() == [first, first._replace(device="ascend-3-1", temperature=None)]


@pytest.mark.parametrize("load", KNOWN)
def test_a_library_that_is_not_there(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", "libnowhere.so.1")
    monkeypatch.setattr(dcmi, "LIBRARIES", ("libnowhere.so.1",))
    with pytest.raises(DriverError, match="libnowhere"):
        load()


def test_a_driver_that_does_not_begin() -> None:
    class Broken(NvmlLibrary, DcmiLibrary):
        def nvmlInit_v2(self) -> int:
            return 9

        def dcmi_init(self) -> int:
            return -8005

    for made in (Nvml, Dcmi):
        with pytest.raises(DriverError, match="does not begin"):
            made(Broken())


async def test_it_is_asked_again_and_shown() -> None:
    registry, clock = CollectorRegistry(), SteppedClock()
    told = [Facts("nvidia-0", power=100.0), Facts("nvidia-0", power=200.0)]

    class Told:
        def read(self) -> list[Facts]:
            return [told.pop(0)]

    def absent() -> Told:
        raise DriverError("none")

    telemetry = Telemetry(system_host(), TelemetrySettings(), registry)
    devices = Devices(telemetry, clock, lambda: ThreadExecutor("devices"), (absent, Told))
    running = asyncio.create_task(devices.run())

    def power() -> float | None:
        return registry.get_sample_value("freehold_inference_device_power_watts", {"device": "nvidia-0"})

    await until(lambda: power() == 100.0 and clock.sleeping == 1)
    await clock.advance(PERIOD_S)
    await until(lambda: power() == 200.0)
    running.cancel()
    await asyncio.wait({running})
    assert power() is None


async def test_without_a_driver_it_is_done() -> None:
    telemetry = Telemetry(system_host(), TelemetrySettings(), CollectorRegistry())
    async with asyncio.timeout(10):
        await Devices(telemetry, SteppedClock(), lambda: ThreadExecutor("devices"), ()).run()
