"""Readers that take a byte a second, and what they cost the others: F19.

    python -m tests.bench.slow_readers [--streams 200] [--seconds 8]

The embedded platform with the synthetic engine, unpaced, so that whole answers wait for their readers. Plain
answers of 8 other clients are measured without, beside, and without them again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import tempfile
from pathlib import Path
from typing import Any, Self

from tests.bench.embedded import PATH, chat
from tests.bench.keys import make_keys
from tests.bench.load import closed_loop, post
from tests.bench.machine import described
from tests.bench.processes import resident_mib
from tests.e2e.running import Running

TOKENS = 1900
"""Of each slow stream: some 300 kB of events."""
OTHERS = 8
WINDOW_BYTES = 4096
"""The readers' own buffers; the kernel makes it a little more."""


class SlowReaders:
    """Streams that were asked for, of which each reads one byte a second."""

    def __init__(self, port: int, key: str, count: int) -> None:
        self._port = port
        self._request = post(PATH, chat(TOKENS, stream=True), key)
        self._count = count
        self._sockets: list[socket.socket] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
            one.setblocking(False)
            self._sockets.append(one)
            await loop.sock_connect(one, ("127.0.0.1", self._port))
            await loop.sock_sendall(one, self._request)
        self._task = loop.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        for one in self._sockets:
            one.close()

    async def _read(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for one in self._sockets:
                try:
                    one.recv(1)
                except OSError:  # nothing there, or cut
                    continue


async def measure(platform: Running, key: str, streams: int, seconds: float) -> dict[str, Any]:
    """The others' figures, and the memory of a slow stream."""
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    pid = platform.process.pid
    plain = post(PATH, chat(16, stream=False), key)
    await closed_loop(port, plain, OTHERS, seconds=seconds / 2)
    found: dict[str, Any] = {}
    found["without"] = (await closed_loop(port, plain, OTHERS, seconds=seconds)).summary()
    before = resident_mib(pid)
    async with SlowReaders(port, key, streams):
        await asyncio.sleep(5.0)  # what they are sent at first is work as any other's
        found["beside"] = (await closed_loop(port, plain, OTHERS, seconds=seconds)).summary()
        found["bytes_a_slow_stream"] = round((resident_mib(pid) - before) * 2**20 / streams)
    await asyncio.sleep(2.0)
    found["without_again"] = (await closed_loop(port, plain, OTHERS, seconds=seconds)).summary()
    found["p99_beside_against_without"] = round(
        2 * found["beside"]["p99_ms"] / (found["without"]["p99_ms"] + found["without_again"]["p99_ms"]), 3
    )
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(Path(folder) / "home", "synthetic")
        try:
            (key,) = make_keys(platform.socket, platform.token, platform.base_url, 1)
            report = asyncio.run(measure(platform, key, given.streams, given.seconds))
            platform.verify_ledger()
        finally:
            platform.stop()
    print(json.dumps({"machine": described(), "streams": given.streams, **report}, indent=2))


if __name__ == "__main__":
    main()
