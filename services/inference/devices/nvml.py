"""NVIDIA's devices, by NVML. Its functions used here have been the same since driver 340."""

from __future__ import annotations

from typing import Any

from cffi import FFI

from services.inference.devices.facts import DriverError, Facts

LIBRARY = "libnvidia-ml.so.1"
CELSIUS_OF_CHIP = 0
DECLARATIONS = """
typedef void * nvmlDevice_t;
typedef struct { unsigned int gpu; unsigned int memory; } nvmlUtilization_t;
typedef struct { unsigned long long total; unsigned long long free; unsigned long long used; } nvmlMemory_t;
int nvmlInit_v2(void);
int nvmlDeviceGetCount_v2(unsigned int * count);
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t * device);
int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t * percent);
int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t * bytes);
int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int * milliwatts);
int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int * celsius);
"""

ffi = FFI()
ffi.cdef(DECLARATIONS)


class Nvml:
    """Every device that the driver shows to this process."""

    def __init__(self, library: Any) -> None:
        """`library` has the functions declared above. Raises `DriverError`."""
        self._library = library
        if code := library.nvmlInit_v2():
            raise DriverError(f"NVML does not begin: code {code}")
        count = ffi.new("unsigned int *")
        if code := library.nvmlDeviceGetCount_v2(count):
            raise DriverError(f"NVML counts no devices: code {code}")
        self._devices: list[tuple[str, Any]] = []
        for number in range(count[0]):
            handle = ffi.new("nvmlDevice_t *")
            if not library.nvmlDeviceGetHandleByIndex_v2(number, handle):
                self._devices.append((f"nvidia-{number}", handle[0]))

    def read(self) -> list[Facts]:
        """See `facts.Driver`."""
        return [self._facts(name, handle) for name, handle in self._devices]

    def _facts(self, name: str, handle: Any) -> Facts:
        library = self._library
        use, memory = ffi.new("nvmlUtilization_t *"), ffi.new("nvmlMemory_t *")
        power, temperature = ffi.new("unsigned int *"), ffi.new("unsigned int *")
        uses = not library.nvmlDeviceGetUtilizationRates(handle, use)
        remembers = not library.nvmlDeviceGetMemoryInfo(handle, memory)
        draws = not library.nvmlDeviceGetPowerUsage(handle, power)
        warms = not library.nvmlDeviceGetTemperature(handle, CELSIUS_OF_CHIP, temperature)
        return Facts(
            name,
            use=use.gpu / 100 if uses else None,
            memory=memory.total if remembers else None,
            memory_used=memory.used if remembers else None,
            power=power[0] / 1000 if draws else None,
            temperature=float(temperature[0]) if warms else None,
        )


def load() -> Nvml:
    """The driver of this machine. Raises `DriverError`."""
    try:
        library = ffi.dlopen(LIBRARY)
        return Nvml(library)
    except (OSError, AttributeError) as error:
        raise DriverError(f"{LIBRARY}: {error}") from error
