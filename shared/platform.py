"""What every service of one process is built on."""

from __future__ import annotations

from dataclasses import dataclass

from shared.bus.ports import Bus
from shared.config_reader import ConfigReader
from shared.configuration import Configuration
from shared.host import Host
from shared.pulses import Pulses
from shared.telemetry import Telemetry


@dataclass(frozen=True)
class Platform:
    """The given and the shared of a process; made once, in `services/cli`."""

    host: Host
    bus: Bus
    telemetry: Telemetry
    configuration: Configuration
    config: ConfigReader
    pulses: Pulses
