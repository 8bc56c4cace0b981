"""Consumers' metrics, by group and topic, in one registry for all services of a process."""

from shared.bus.observer import Observer
from shared.host import system_host
from shared.telemetry import Telemetry, TelemetrySettings


def test_each_outcome_is_counted_for_its_group_and_topic() -> None:
    telemetry = Telemetry(system_host(), TelemetrySettings())
    tokenizer: Observer = telemetry.consumer("tokenizer")
    moderation: Observer = telemetry.consumer("moderation.input")
    tokenizer.handled("requests", 3)
    tokenizer.handled("requests", 4)
    moderation.handled("requests", 1)
    tokenizer.stale("requests", 2)
    tokenizer.dead_lettered("requests")
    tokenizer.parked("usage")
    tokenizer.kept_last_good("config")
    tokenizer.fault("requests")
    tokenizer.lag("requests", 9)

    def records(group: str, topic: str, outcome: str) -> float | None:
        labels = {"group": group, "topic": topic, "outcome": outcome}
        return telemetry.registry.get_sample_value("freehold_bus_records_total", labels)

    assert records("tokenizer", "requests", "handled") == 7
    assert records("moderation.input", "requests", "handled") == 1
    assert records("tokenizer", "requests", "stale") == 2
    assert records("tokenizer", "requests", "dead_lettered") == 1
    assert records("tokenizer", "usage", "parked") == 1
    assert records("tokenizer", "config", "kept_last_good") == 1
    value = telemetry.registry.get_sample_value
    assert value("freehold_bus_faults_total", {"group": "tokenizer", "topic": "requests"}) == 1
    assert value("freehold_bus_lag_records", {"group": "tokenizer", "topic": "requests"}) == 9
