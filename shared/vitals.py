"""What every process tells of itself, whatever services it runs; all of it is asked for at a scrape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import ProcessCollector

from shared.lifecycle import Service
from shared.platform import Platform
from shared.rpc.platform import VERSION

HEARD: Final = ("edge", "control", "tokenizer", "moderation", "inference", "billing", "audit")


def tell(platform: Platform, services: Sequence[Service]) -> None:
    """Register the metrics of this process: once, when its services are made. Memory, CPU time and open
    files have the names that Prometheus's own clients give them (`process_*`).
    """
    ProcessCollector(registry=platform.telemetry.registry)
    metrics = platform.telemetry.metrics("process")
    metrics.read_each(
        "build_info", "Which release runs here; always 1.", ("version",), lambda: {(VERSION,): 1.0}
    )
    metrics.read_each(
        "ready",
        "Whether a service of this process may take work.",
        ("name",),
        lambda: {(service.name,): float(service.readiness().ready) for service in services},
    )
    metrics.read_each(
        "heard",
        "Ready processes of each service whose pulse this one hears.",
        ("name",),
        lambda: {(service,): float(platform.pulses.count(service)) for service in HEARD},
    )
    config = platform.config
    metrics.read("config_offset", "The configuration's version here.", lambda: platform.configuration.offset)
    metrics.read(
        "config_marker_age_seconds", "Since control was last heard of on `config`.", lambda: config.marker_age
    )
    metrics.read_total(
        "config_rejected", "Configuration values that were not understood.", lambda: config.rejected
    )
