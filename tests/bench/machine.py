"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

PARTS = ("aiokafka", "asyncpg", "fastapi", "grpcio", "protobuf", "uvicorn", "uvloop")


def described() -> dict[str, object]:
    """Date, cores, load and versions."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cores": os.cpu_count(),
        "processor": model,
        "load_average_at_start": [round(one, 1) for one in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {part: version(part) for part in PARTS},
    }
