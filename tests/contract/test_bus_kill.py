"""A process that is killed, by the real signal, loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from shared.bus.local import LocalBus
from shared.bus.ports import Start, TopicPartition
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.contract.bus_world import read_all

WRITER = """
import asyncio, sys
from pathlib import Path
from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.host import system_host

async def write(bus, name):
    number = 0
    while True:
        await bus.publish("usage", b"%d/%d" % (name, number), key=b"%d" % name)
        print(f"{name}/{number}", flush=True)
        number += 1

async def main():
    bus = LocalBus(system_host(), load_topics("embedded"), Path(sys.argv[1]))
    await bus.start()
    await asyncio.gather(*(write(bus, name) for name in range(8)))

asyncio.run(main())
"""


async def test_sigkill_in_the_midst_of_commits_loses_no_acknowledged_record(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), cwd=root, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [await process.stdout.readline() for _ in range(400)]
    process.send_signal(signal.SIGKILL)
    acknowledged += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    whole = {line.strip() for line in acknowledged if line.endswith(b"\n")}

    bus = LocalBus(system_host(), load_topics("embedded"), path)
    await bus.start()
    places = [TopicPartition("usage", number) for number in range(4)]
    records = await read_all(await bus.assign(places, Start.BEGINNING))
    found = [record.value for record in records]
    assert whole <= set(found)
    assert len(found) == len(set(found))
    for place in places:
        offsets = [record.offset for record in records if record.partition == place.partition]
        assert offsets == list(range(len(offsets)))
    await bus.close()
