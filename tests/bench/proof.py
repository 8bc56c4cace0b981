"""That everything was on: every request settled, in the signed log, and traced; the books in order."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.bench.receiver import Receiver
from tests.e2e.deployment import Deployment

PATIENCE_S = 120.0
LOOK_S = 0.1


def value(metrics: str, name: str) -> float:
    """Sum over the labels of a metric."""
    lines = [line for line in metrics.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def prove(platform: Deployment, receiver: Receiver, sent: int) -> dict[str, Any]:
    """Return once what follows the last answer is done. Raises `SystemExit` where it is not soon."""
    until = time.monotonic() + PATIENCE_S
    while not whole(found := look(platform, receiver), sent):
        if time.monotonic() > until:
            raise SystemExit(f"sent {sent}, found {found}")
        time.sleep(LOOK_S)
    ledger = platform.command("ledger", "verify").stdout
    if "FAILED" in ledger:
        raise SystemExit(ledger)
    return found | {"sent": sent, "services": sorted(receiver.services)}


def whole(found: dict[str, float], sent: int) -> bool:
    """Whether each request is everywhere, and none is anywhere twice."""
    return (
        found["settled"] == sent
        and found["accepted"] == sent
        and found["log_entries"] >= sent
        and not found["unsigned"]
        and found["traces"] >= sent
    )


def look(platform: Deployment, receiver: Receiver) -> dict[str, float]:
    """What is counted where."""
    headers = {"Authorization": f"Bearer {platform.key}"}
    rows = httpx.get(f"{platform.base_url}/usage", headers=headers, timeout=30.0).json()["data"]
    audit = platform.replicas["audit"].metrics()
    return {
        "settled": sum(row["requests"] for row in rows),
        "accepted": value(platform.replicas["edge"].metrics(), "freehold_edge_requests_total"),
        "log_entries": value(audit, "freehold_audit_log_size"),
        "unsigned": value(audit, "freehold_audit_unsigned_entries"),
        "traces": len(receiver.traces),
        "spans": receiver.spans,
    }
