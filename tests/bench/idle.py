"""CPU of a platform at rest, asked for its health and its metrics as in `docker compose up`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.bench.processes import all_cpu, spent
from tests.e2e.deployment import Deployment

SETTLE_S = 75.0
"""The broker's Java compiles what its start made it run often for a minute or so."""
OVER_S = 60.0
EVERY_S = 15.0
"""Between two scrapes, and two questions for the health."""


def at_rest(platform: Deployment, pids: Mapping[str, int]) -> dict[str, Any]:
    """Percent of one core by process, over a minute."""
    time.sleep(SETTLE_S)
    begun, before = time.monotonic(), all_cpu(pids)
    for turn in range(1, int(OVER_S / EVERY_S) + 1):
        time.sleep(max(0.0, begun + turn * EVERY_S - time.monotonic()))
        for replica in platform.replicas.values():
            replica.metrics()
            assert replica.ready
    shares = spent(before, all_cpu(pids), (time.monotonic() - begun) / 100)
    services = sum(shares[name] for name in platform.replicas)
    return {
        "percent_of_a_core": {name: round(share, 2) for name, share in shares.items()},
        "services": round(services, 2),
        "all": round(sum(shares.values()), 2),
    }
