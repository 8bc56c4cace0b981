"""What a broker holds: records by the offsets at which topics end, bytes by the files of its log."""

from __future__ import annotations

from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place

from shared.bus.kafka_settings import KafkaSettings
from shared.bus.topics import load_topics

TOPICS = load_topics("compose")


async def ends(settings: KafkaSettings) -> dict[str, int]:
    """Records that each topic has had so far. Exact: nothing here writes in transactions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        places = {
            Place(settings.prefix + name, number): name
            for name, topic in TOPICS.items()
            for number in range(topic.partitions)
        }
        consumer.assign(list(places))
        found = await consumer.end_offsets(list(places))
    finally:
        await consumer.stop()
    totals = dict.fromkeys(TOPICS, 0)
    for place, offset in found.items():
        totals[places[place]] += offset
    return totals


def sizes(settings: KafkaSettings, data: Path) -> dict[str, int]:
    """Bytes in the log files of each topic, batches' own overhead included."""
    return {
        name: sum(file.stat().st_size for file in data.glob(f"{settings.prefix}{name}-*/*.log"))
        for name in TOPICS
    }


def per_request(before: dict[str, int], after: dict[str, int], requests: int) -> dict[str, float]:
    """What each topic has gained for one request."""
    return {name: round((after[name] - before[name]) / max(1, requests), 3) for name in TOPICS}
