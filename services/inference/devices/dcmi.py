"""Huawei's Ascend devices, by DCMI, which comes with the driver. Power is told in tenths of a watt, memory
in mebibytes. The first generation of the interface: of it all drivers until now have these functions.
"""

from __future__ import annotations

from typing import Any

from cffi import FFI

from services.inference.devices.facts import DriverError, Facts

LIBRARIES = ("libdcmi.so", "/usr/local/dcmi/libdcmi.so")
AI_CORES = 2
CARDS = 64
MEBIBYTE = 1 << 20
DECLARATIONS = """
struct dcmi_hbm_info {
    unsigned long long memory_size;
    unsigned int freq;
    unsigned long long memory_usage;
    int temp;
    unsigned int bandwith_util_rate;
};
int dcmi_init(void);
int dcmi_get_card_list(int * count, int * cards, int length);
int dcmi_get_device_num_in_card(int card, int * count);
int dcmi_get_device_utilization_rate(int card, int device, int what, unsigned int * percent);
int dcmi_get_device_hbm_info(int card, int device, struct dcmi_hbm_info * memory);
int dcmi_get_device_power_info(int card, int device, int * tenths);
int dcmi_get_device_temperature(int card, int device, int * celsius);
"""

ffi = FFI()
ffi.cdef(DECLARATIONS)


class Dcmi:
    """Every chip of every card."""

    def __init__(self, library: Any) -> None:
        """`library` has the functions declared above. Raises `DriverError`."""
        self._library = library
        if code := library.dcmi_init():
            raise DriverError(f"DCMI does not begin: code {code}")
        count, cards = ffi.new("int *"), ffi.new("int[]", CARDS)
        if code := library.dcmi_get_card_list(count, cards, CARDS):
            raise DriverError(f"DCMI lists no cards: code {code}")
        self._chips: list[tuple[int, int]] = []
        for card in cards[0 : min(max(count[0], 0), CARDS)]:
            chips = ffi.new("int *")
            if not library.dcmi_get_device_num_in_card(card, chips):
                self._chips += [(card, chip) for chip in range(chips[0])]

    def read(self) -> list[Facts]:
        """See `facts.Driver`."""
        return [self._facts(card, chip) for card, chip in self._chips]

    def _facts(self, card: int, chip: int) -> Facts:
        library = self._library
        use, memory = ffi.new("unsigned int *"), ffi.new("struct dcmi_hbm_info *")
        power, temperature = ffi.new("int *"), ffi.new("int *")
        uses = not library.dcmi_get_device_utilization_rate(card, chip, AI_CORES, use)
        remembers = not library.dcmi_get_device_hbm_info(card, chip, memory)
        draws = not library.dcmi_get_device_power_info(card, chip, power)
        warms = not library.dcmi_get_device_temperature(card, chip, temperature)
        return Facts(
            f"ascend-{card}-{chip}",
            use=use[0] / 100 if uses else None,
            memory=memory.memory_size * MEBIBYTE if remembers else None,
            memory_used=memory.memory_usage * MEBIBYTE if remembers else None,
            power=power[0] / 10 if draws else None,
            temperature=float(temperature[0]) if warms else None,
        )


def load() -> Dcmi:
    """The driver of this machine. Raises `DriverError`."""
    reasons = []
    for name in LIBRARIES:
        try:
            return Dcmi(ffi.dlopen(name))
        except (OSError, AttributeError) as error:
            reasons.append(f"{name}: {error}")
    raise DriverError("; ".join(reasons))
