"""The whole platform in this process, and a stranger on its bus who may write to every topic."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx

from services.cli.embedded.assembly import Assembly
from services.cli.embedded.platform import Embedded
from services.cli.embedded.settings import EmbeddedSettings
from shared.bus.ports import Headers, Reader, Record, Start, TopicPartition
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.host import system_host
from shared.platform import Platform
from shared.rpc.channel import connect
from shared.telemetry import TelemetrySettings

T = TypeVar("T")

MODEL = "smollm2-135m-instruct"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
PATIENCE_S = 180.0
"""CI is slow: nothing here measures time."""

SETTLED_S = 60.0


class Foreign(NamedTuple):
    """A record that no service wrote."""

    topic: str
    partition: int
    value: bytes
    headers: Headers
    key: bytes | None = None


class Watched(Embedded):
    """The platform, with its bus in the test's hands."""

    platform: Platform

    async def _start(self, platform: Platform, assembly: Assembly) -> None:
        self.platform = platform
        await super()._start(platform, assembly)


class Faults(logging.Handler):
    """Keeps what was logged with a traceback: what no code expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.CRITICAL:
            text = logging.Formatter().format(record)
            self.found.append(text[-3000:])


class World:
    """The platform on a loop of its own, driven from a test's thread."""

    def __init__(self, home: Path) -> None:
        settings = EmbeddedSettings(home=home, engine="synthetic", http_port=0, grpc_port=0)
        self.embedded = Watched(settings, TelemetrySettings(), system_host(), lambda _: None)
        self.faults = Faults()
        logging.getLogger().addHandler(self.faults)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self.embedded.start())
        self._dead: Reader = self.run(self._read_all("dlq"))
        self._client = httpx.Client(
            base_url=self.embedded.base_url,
            headers={"Authorization": f"Bearer {self.embedded.home.read_demo()['OPENAI_API_KEY']}"},
            timeout=PATIENCE_S,
        )

        self.written = self._traffic(3)
        """What the services themselves write for some requests."""

    def __repr__(self) -> str:
        return "the platform"

    def close(self) -> None:
        """Stop it."""
        self._client.close()
        self.run(self.embedded.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
        logging.getLogger().removeHandler(self.faults)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this on the platform's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def partitions(self, topic: str) -> int:
        return self.embedded.platform.bus.partitions(topic)

    def publish(self, records: Sequence[Foreign]) -> None:
        """As a stranger."""
        self.run(self._publish(records))

    def serves(self) -> str:
        """Why a customer's request is not answered; empty where it is."""
        answer = self._client.post("/chat/completions", json=BODY)
        return "" if answer.status_code == httpx.codes.OK else answer.text

    def unready(self) -> list[str]:
        """Services that are not ready, and why."""
        states = [(service.name, service.readiness()) for service in self.embedded._services]
        return [f"{name}: {state.reason}" for name, state in states if not state.ready]

    def dead_letters(self) -> list[tuple[str, str]]:
        """Origin and reason of each since the last call."""
        records = self.run(self._poll(self._dead))
        found = [dict(record.headers) for record in records]
        return [(headers["origin"].decode(), headers["reason"].decode()) for headers in found]

    def _traffic(self, requests: int) -> list[Record]:
        topics = (
            "requests",
            "reserves",
            "replies",
            "work",
            "frames",
            "completions",
            "pulses",
            "usage",
            "closed",
        )
        readers = [self.run(self._read_all(topic)) for topic in (*topics, "facts")]
        for _ in range(requests):
            assert self.serves() == ""
        found = [record for reader in readers for record in self.run(self._poll(reader))]
        for reader in readers:
            self.run(reader.close())
        return found

    def verify_ledger(self) -> None:
        """Raises `AssertionError` where the books are wrong, and stay so once what was sent is settled."""
        wrong: list[tuple[str, list[str]]] = [("not asked", [])]
        until = time.monotonic() + SETTLED_S
        while wrong and time.monotonic() < until:
            checks = self.run(self._checks())
            assert checks
            wrong = [(check.name, list(check.violations)) for check in checks if not check.passed]
        assert wrong == []

    async def _checks(self) -> list[billing_pb2.LedgerCheck]:
        home = self.embedded.home
        async with connect(home.address, home.token.read_text()) as channel:
            stub = BillingStub(channel)
            return list((await stub.VerifyLedger(billing_pb2.VerifyLedgerRequest())).checks)

    async def _publish(self, records: Sequence[Foreign]) -> None:
        for one in records:
            await self.embedded.platform.bus.publish(
                one.topic, one.value, one.headers, key=one.key, partition=one.partition
            )

    async def _read_all(self, topic: str) -> Reader:
        bus = self.embedded.platform.bus
        places = [TopicPartition(topic, number) for number in range(bus.partitions(topic))]
        return await bus.assign(places, Start.END)

    async def _poll(self, reader: Reader) -> list[Record]:
        found: list[Record] = []
        while polled := await reader.poll(1000, 0.05):
            found += [record for records in polled.values() for record in records]
        return found
