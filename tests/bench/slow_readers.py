"""Readers that take a byte a second, and what they cost the others: F19.

    python -m tests.bench.slow_readers [--streams 200] [--seconds 20]

Plain answers of 8 other clients, on the embedded platform with a paced synthetic engine, beside these and
beside as many streams that are read as they come.
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
PACE = 16.0
"""Tokens a second of each stream, so that they last two minutes."""
OTHERS = 8
BEFORE_S = 5.0
WINDOW_BYTES = 4096
"""The slow readers' own buffers; the kernel makes it a little more."""


class Readers:
    """Streams of which each second `most` bytes are read."""

    def __init__(self, port: int, key: str, count: int, most: int, tokens: int = TOKENS) -> None:
        self._port = port
        self._request = post(PATH, chat(tokens, stream=True), key)
        self._count = count
        self._most = most
        self._sockets: list[socket.socket] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            one = socket.socket()
            if self._most < WINDOW_BYTES:
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
                    one.recv(self._most)
                except OSError:  # nothing there, or cut
                    continue


async def beside(platform: Running, key: str, readers: Readers, streams: int, seconds: float) -> Any:
    """The others' figures beside these, and the memory that each of these takes."""
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    plain = post(PATH, chat(16, stream=False), key)
    before = resident_mib(platform.process.pid)
    async with readers:
        await asyncio.sleep(BEFORE_S)
        figures = await closed_loop(port, plain, OTHERS, seconds=seconds)
        grown = resident_mib(platform.process.pid) - before
    await asyncio.sleep(BEFORE_S)
    return figures.summary() | {"bytes_a_stream": round(grown * 2**20 / streams)}


async def measure(platform: Running, key: str, streams: int, seconds: float) -> dict[str, Any]:
    """The same load with readers that keep up and with readers that do not."""
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    found = {}
    for name, most in (("warm", 1 << 20), ("keeping_up", 1 << 20), ("slow", 1)):
        readers = Readers(port, key, streams, most)
        found[name] = await beside(platform, key, readers, streams, seconds)
    return found | {"p99_slow_against_keeping_up": found["slow"]["p99_ms"] / found["keeping_up"]["p99_ms"]}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(
            Path(folder) / "home",
            "synthetic",
            FREEHOLD_INFERENCE_SLOTS=str(given.streams + 2 * OTHERS),
            FREEHOLD_INFERENCE_TOKENS_PER_SECOND=str(PACE),
        )
        try:
            (key,) = make_keys(platform.socket, platform.token, platform.base_url, 1)
            report = asyncio.run(measure(platform, key, given.streams, given.seconds))
            platform.verify_ledger()
        finally:
            platform.stop()
    print(json.dumps({"machine": described(), "streams": given.streams, **report}, indent=2))


if __name__ == "__main__":
    main()
