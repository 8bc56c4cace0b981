"""The declared topics on a broker: made where they are missing, compared where they are there.

Nothing that exists is ever changed: more partitions move keys, other settings lose records or keep them
longer than was promised. Each difference is told with what a person can do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.bus.kafka_admin import Admin, Found, NewTopic
from shared.bus.kafka_rights import Binding
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import BusError, BusRefused
from shared.bus.topics import Topic, Topics
from shared.clock import Clock, SystemClock

FRAME = 4096
"""Kafka counts a record as it is framed; `max_bytes` is what is framed."""
SEGMENT_MS = {"transit": 300_000, "config": 3_600_000}
"""A closed file of records is what can be deleted, or compacted: prompts go within minutes of their time."""
SAFE_COPIES = 3
"""From so many on, a write is acknowledged by two, and one broker may be lost without loss of a record."""
_SEEN_S = 30.0
_LOOK_S = 0.1


class TopicsRefused(BusRefused):
    """The topics on the broker are not those declared; the text lists every difference."""


def configuration(topic: Topic, settings: KafkaSettings) -> Mapping[str, str]:
    """A topic's settings on the broker, each of them stated and none left to the broker's defaults."""
    wanted = {
        "cleanup.policy": "compact" if topic.retention_s is None else "delete",
        "max.message.bytes": str(topic.max_bytes + FRAME),
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "2" if settings.replication >= SAFE_COPIES else "1",
    }
    if topic.retention_s is not None:
        wanted["retention.ms"] = str(topic.retention_s * 1000)
    if topic.kind in SEGMENT_MS:
        wanted["segment.ms"] = str(SEGMENT_MS[topic.kind])
    return wanted


async def apply(topics: Topics, settings: KafkaSettings, clock: Clock = SystemClock()) -> list[str]:  # noqa: B008
    """Make what is missing and return its names on the broker once every partition has a leader.

    Raises `TopicsRefused`, having made nothing, where one that is there is not as declared; `BusRefused`
    where credentials or rights are lacking; `BusError` where trying again may help. Several may run at once.
    """
    wanted = _wanted(topics, settings)
    admin = await Admin.open(settings)
    try:
        found = await admin.topics(wanted)
        _refuse(await _differences(admin, wanted, found, settings))
        missing = [wanted[name] for name in wanted if name not in found]
        if missing:
            await admin.create(missing)
            found = await _usable(admin, wanted, clock)
            # A twin of another version may have been quicker.
            _refuse(await _differences(admin, wanted, found, settings))
        return [topic.name for topic in missing]
    finally:
        admin.close()


async def check(topics: Topics, settings: KafkaSettings) -> None:
    """Return where every topic is there and as declared. Raises as `apply` does; changes nothing."""
    wanted = _wanted(topics, settings)
    admin = await Admin.open(settings)
    try:
        found = await admin.topics(wanted)
        missing = [
            f"{name} is missing; `freehold topics apply` makes it" for name in wanted if name not in found
        ]
        _refuse([*missing, *await _differences(admin, wanted, found, settings)])
    finally:
        admin.close()


async def grant(rights: Iterable[Binding], settings: KafkaSettings) -> None:
    """Give rights; take none away. Raises `BusRefused`, `BusError` where trying again may help."""
    admin = await Admin.open(settings)
    try:
        await admin.allow(rights)
    finally:
        admin.close()


def _wanted(topics: Topics, settings: KafkaSettings) -> dict[str, NewTopic]:
    made = (
        NewTopic(
            f"{settings.prefix}{topic.name}",
            topic.partitions,
            settings.replication,
            configuration(topic, settings),
        )
        for topic in topics.values()
    )
    return {topic.name: topic for topic in made}


async def _usable(admin: Admin, names: Iterable[str], clock: Clock) -> Mapping[str, Found]:
    """All of them, once this broker knows a leader for each partition. Raises `BusError`."""
    names, until = list(names), clock.monotonic() + _SEEN_S
    while True:
        found = await admin.topics(names)
        waiting = [name for name in names if name not in found or not found[name].led]
        if not waiting:
            return found
        if clock.monotonic() > until:
            raise BusError(f"made, but still without leaders after {_SEEN_S:.0f} s: {', '.join(waiting)}")
        await clock.sleep(_LOOK_S)


async def _differences(
    admin: Admin, wanted: Mapping[str, NewTopic], found: Mapping[str, Found], settings: KafkaSettings
) -> list[str]:
    asked = {name: wanted[name].configuration for name in found}
    real = await admin.configurations(asked)
    return [
        difference
        for name, there in found.items()
        for difference in (
            *_shape(wanted[name], there, settings),
            *_configured(wanted[name], real.get(name, {})),
        )
    ]


def _shape(topic: NewTopic, there: Found, settings: KafkaSettings) -> Iterator[str]:
    if there.partitions < topic.partitions:
        yield (
            f"{topic.name} has {there.partitions} partitions, not {topic.partitions}; once nothing runs and"
            f" all is read: kafka-topics.sh --alter --topic {topic.name} --partitions {topic.partitions}"
        )
    if there.partitions > topic.partitions:
        yield (
            f"{topic.name} has {there.partitions} partitions, not {topic.partitions}; they cannot be taken"
            " away: delete the topic, with its records, or use another FREEHOLD_KAFKA_PREFIX"
        )
    if there.copies != topic.copies:
        yield (
            f"{topic.name} has a replication of {there.copies}, not {settings.replication}; use"
            f" kafka-reassign-partitions.sh, or set FREEHOLD_KAFKA_REPLICATION={there.copies}"
        )


def _configured(topic: NewTopic, real: Mapping[str, str]) -> Iterator[str]:
    for key, value in topic.configuration.items():
        if real.get(key) != value:
            yield (
                f"{topic.name} has {key}={real.get(key)}, not {value}; kafka-configs.sh --alter"
                f" --entity-type topics --entity-name {topic.name} --add-config {key}={value}"
            )


def _refuse(differences: list[str]) -> None:
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise TopicsRefused(
            f"the topics on the broker are not as declared, and nothing was changed:\n{lines}"
        )
