"""What every process tells of itself, whatever services it runs; all of it is asked for at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import ProcessCollector

from shared.lifecycle import Readiness
from shared.platform import Platform
from shared.rpc.identity import Identity
from shared.rpc.platform import VERSION

HEARD: Final = ("edge", "control", "tokenizer", "moderation", "inference", "billing", "audit")


def tell(
    platform: Platform,
    services: Mapping[str, Callable[[], Readiness]],
    identity: Identity | None = None,
) -> None:
    """Register the metrics of this process, once; `services` by name with their readiness, `identity`
    where calls between services are mutual TLS.

    Memory, CPU time and open files have the names that Prometheus's own clients give them (`process_*`).
    """
    ProcessCollector(registry=platform.telemetry.registry)
    metrics, pulses = platform.telemetry.metrics("process"), platform.pulses
    metrics.read_each(
        "build_info", "Which release runs here; always 1.", ("version",), lambda: {(VERSION,): 1.0}
    )
    metrics.read_each(
        "ready",
        "Whether a service of this process may take work.",
        ("name",),
        lambda: {(name,): float(readiness().ready) for name, readiness in services.items()},
    )
    metrics.read_each(
        "heard",
        "Ready processes of each service whose pulse this one hears.",
        ("name",),
        lambda: {(name,): float(pulses.count(name)) for name in HEARD} if pulses.listens else {},
    )
    config = platform.config
    metrics.read("config_offset", "The configuration's version here.", lambda: platform.configuration.offset)
    metrics.read(
        "config_marker_age_seconds", "Since control was last heard of on `config`.", lambda: config.marker_age
    )
    metrics.read_total(
        "config_rejected", "Configuration values that were not understood.", lambda: config.rejected
    )
    metrics.read_each(
        "certificate_not_after_timestamp_seconds",
        "When the certificate for calls between services ends; nothing where they are plain text.",
        (),
        lambda: {(): identity.not_after} if identity else {},
    )
