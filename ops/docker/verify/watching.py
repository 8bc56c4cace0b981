"""What Prometheus tells of the platform."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

from ops.docker.verify.driving import Client
from ops.docker.verify.engine import wait_for

SHARES = {
    "edge": 'freehold_edge_requests_total{state="completed"}',
    "inference": 'freehold_inference_tokens_total{kind="generated"}',
    "moderation": 'freehold_moderation_verdicts_total{direction="output"}',
}
LEAST_SHARE = 0.25
"""Of two replicas, the lesser's part of the work."""

SCRAPED_S = 90.0
"""Until a new replica is found by DNS and asked once."""


class Watch:
    """Prometheus at its published address."""

    def __init__(self, prometheus: str) -> None:
        self._prometheus = prometheus

    def query(self, expression: str) -> dict[str, float]:
        """By instance, what Prometheus answers."""
        found = _get(f"{self._prometheus}/api/v1/query", query=expression)["data"]["result"]
        return {one["metric"]["instance"]: float(one["value"][1]) for one in found}

    def sees(self, replicas: dict[str, int]) -> None:
        """Return once every replica is scraped. Raises `VerifyError`."""

        def missing() -> dict[str, int]:
            seen = {name: len(self.query(f'up{{service="{name}"}} == 1')) for name in replicas}
            return {name: count for name, count in seen.items() if count != replicas[name]}

        wait_for(lambda: not missing(), SCRAPED_S, lambda: f"Prometheus sees of {replicas}: {missing()}")

    def shares(self, client: Client) -> dict[str, Any]:
        """How the replicas shared a load of streams. Raises `VerifyError` where one had too little."""
        before = self._work()
        load = client.load(48, 6)
        found: dict[str, dict[str, float]] = {}

        def told() -> bool:
            for service, now in self._work().items():
                found[service] = {name: value - before[service].get(name, 0) for name, value in now.items()}
            done = sum(found["edge"].values())
            return done >= load["requests"] and all(_shared(part) for part in found.values())

        wait_for(told, 60.0, lambda: f"the replicas do not share the work: {found}")
        return {"load": load, "work_by_replica": found}

    def _work(self) -> dict[str, dict[str, float]]:
        return {service: self.query(f"sum by (instance) ({metric})") for service, metric in SHARES.items()}


def _shared(part: dict[str, float]) -> bool:
    whole = sum(part.values())
    worked = [value for value in part.values() if value > 0]
    return len(worked) == 2 and min(worked) >= LEAST_SHARE * whole


def _get(url: str, **parameters: str) -> Any:
    asked = f"{url}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - our own containers
        return json.load(answer)
