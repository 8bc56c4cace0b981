"""What one bad record costs the others of its batch."""

from __future__ import annotations

import math

from shared.bus.handling import Batch, Handling
from shared.bus.local import LocalBus
from shared.bus.observer import Unobserved
from shared.bus.patience import Faults, Patience
from shared.bus.ports import Record
from shared.bus.topics import load_topics
from shared.host import system_host

RECORDS = 500


async def test_one_bad_record_is_found_in_a_few_steps() -> None:
    handed: list[int] = []
    done: set[int] = set()
    parked: list[int] = []

    async def handle(batch: Batch) -> None:
        handed.append(len(batch.records))
        if any(record.offset == 123 for record in batch.records):
            raise ValueError("odd")
        done.update(record.offset for record in batch.records)

    async def park(record: Record, error: Exception) -> None:
        parked.append(record.offset)

    host, topics = system_host(), load_topics("embedded")
    patience, observer = Patience(), Unobserved()
    faults = Faults(host, patience, observer)
    handling = Handling(
        handle, LocalBus(host, topics, None), host, topics, faults, observer, patience, None, park
    )
    batch = Batch("usage", 0, [Record("usage", 0, number, 0, None, b"", ()) for number in range(RECORDS)])
    failed = await handling.attempt(batch)
    assert failed is not None
    await handling.recover(batch, failed)
    assert parked == [123]
    assert done == set(range(RECORDS)) - {123}
    assert len(handed) <= 1 + 2 * math.ceil(math.log2(RECORDS))
