"""Signs of life: what a process says of its services once a second, and what it hears of all others.

Time is counted in *own pulses read back*: while the bus is down nobody grows suspect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from shared.bus.envelope import Envelope
from shared.bus.ports import Bus, BusError, Position, Reader, Record, Start, TopicPartition
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse, WorkerLoad
from shared.host import Host
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

PULSES = TopicPartition("pulses", 0)
PERIOD_S = 1.0
SUSPECT_AFTER = 5
"""Own pulses read back since a worker's last: it is suspect."""
GONE_AFTER = 10
"""Own pulses read back since an owner's last: it is gone."""
FORGOTTEN_AFTER = 100
"""Own pulses read back since anybody's last: nothing more is known of it."""
MOST_SEEN = 10_000
"""Services of processes that are known at a time: a stranger who makes them up fills no memory."""

Load = Callable[[], WorkerLoad]


@dataclass(slots=True)
class Seen:
    """What was last heard of one service of one process."""

    service: str
    incarnation: int
    ready: bool
    load: WorkerLoad | None
    at_own: int
    """How many own pulses had been read back when it was heard."""
    number: int
    """The pulse's own number; a worker that was chosen since is known by it."""


class Pulses:
    """Sends one pulse a second for each service added, and reads the whole topic unless it need not
    `listen`: then nothing is ever known of others.
    """

    def __init__(self, bus: Bus, host: Host, *, listen: bool = True) -> None:
        self._bus = bus
        self._host = host
        self.listens = listen
        """Whether anything is known of others."""
        self._tasks = Tasks("pulses")
        self._own: list[tuple[str, Load | None, Callable[[], bool]]] = []
        self._seen: dict[tuple[str, int], Seen] = {}
        self._said_at = -1
        self._number = 0
        self._beats: set[int] = set()
        self._unacknowledged: dict[str, asyncio.Future[Position]] = {}
        self._wanted = asyncio.Event()
        self.own_read = 0
        """Own beats read back so far, one a second: this process's measure of time."""
        self.own_broker_ms = 0
        """Broker time of the newest own pulse read back; 0 = none yet."""
        self.listeners: list[Callable[[Seen], None]] = []
        """Called with each pulse heard."""

    def add(self, service: str, ready: Callable[[], bool], load: Load | None = None) -> None:
        """Pulse for this service from now on."""
        self._own.append((service, load, ready))

    async def start(self) -> None:
        """Begin to send and to read. Raises `BusError`."""
        if self.listens:
            reader = await self._bus.assign([PULSES], Start.END)
            self._tasks.spawn(self._read(reader), "read")
        self._tasks.spawn(self._beat(), "beat")
        self._tasks.spawn(self._send_at_once(), "send_at_once")

    async def stop(self, deadline: float) -> None:
        """Stop both."""
        del deadline
        await self._tasks.cancel()

    def send_now(self) -> None:
        """Pulse at the next turn of the loop: others wait for a change."""
        self._wanted.set()

    def own(self, service: str) -> Seen | None:
        """The last pulse of a service of this process that was read back."""
        return self._seen.get((service, self._host.incarnation))

    def alive(self, service: str) -> bool:
        """Whether any ready process of this service has been heard of lately."""
        return any(seen.ready and self._fresh(seen, SUSPECT_AFTER) for seen in self._of(service))

    def count(self, service: str) -> int:
        """How many ready processes of this service have been heard of lately."""
        return sum(seen.ready and self._fresh(seen, SUSPECT_AFTER) for seen in self._of(service))

    def workers(self) -> dict[int, Seen]:
        """Ready workers that are not suspect, by incarnation."""
        return {
            seen.incarnation: seen
            for seen in self._of("inference")
            if seen.ready and seen.load is not None and self._fresh(seen, SUSPECT_AFTER)
        }

    def suspect(self, worker: int) -> bool:
        """Whether this worker has not been heard of for five own pulses."""
        seen = self._seen.get(("inference", worker))
        return seen is None or not self._fresh(seen, SUSPECT_AFTER)

    def owner_gone(self, owner: int) -> bool:
        """Whether this edge has not been heard of for ten own pulses; False for one never heard of."""
        seen = self._seen.get(("edge", owner))
        return seen is not None and not self._fresh(seen, GONE_AFTER)

    def owner_alive(self, owner: int) -> bool:
        """Whether this edge has been heard of within ten own pulses."""
        seen = self._seen.get(("edge", owner))
        return seen is not None and self._fresh(seen, GONE_AFTER)

    def _of(self, service: str) -> list[Seen]:
        return [seen for seen in self._seen.values() if seen.service == service]

    def _fresh(self, seen: Seen, limit: int) -> bool:
        return self.own_read - seen.at_own < limit

    async def _beat(self) -> None:
        while True:
            self._round()
            self._beats.add(self._number)
            await self._host.clock.sleep(self._rest())

    def _rest(self) -> float:
        """Until the next beat. All processes beat at the wall clock's whole seconds, so that one fetch of a
        reader finds the pulses of many; a clock that steps makes a single beat shorter or longer by half.
        """
        past = self._host.clock.time_ns() / 1e9 % PERIOD_S
        return PERIOD_S - past if past <= PERIOD_S / 2 else 2 * PERIOD_S - past

    async def _send_at_once(self) -> None:
        # Not a beat: who pulses more often must not think that others fall silent sooner.
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._round()

    def _round(self) -> None:
        self._number += 1
        for service, load, ready in self._own:
            before = self._unacknowledged.get(service)
            if before is not None and not before.done():
                continue
            try:
                sent = self._publish(service, load, ready())
            except BusError as error:
                log.warning("pulse of %s not sent: %s", service, error)
                continue
            except Exception:
                log.exception("no pulse of %s", service)  # and yet the others' are sent
                continue
            self._unacknowledged[service] = self._tasks.spawn(self._acknowledged(sent), f"pulse.{service}")

    def _publish(self, service: str, load: Load | None, ready: bool) -> Awaitable[Position]:
        pulse = Pulse(service=service, incarnation=self._host.incarnation, ready=ready, number=self._number)
        if load is not None:
            pulse.worker.CopyFrom(load())
        name = f"{self._host.incarnation:016x}/{service}/{self._number}"
        headers = Envelope("Pulse", name, self._host.incarnation).headers()
        return self._bus.publish(PULSES.topic, pulse.SerializeToString(), headers, partition=PULSES.partition)

    async def _acknowledged(self, sent: Awaitable[Position]) -> Position:
        try:
            return await sent
        except BusError as error:
            log.warning("pulse not acknowledged: %s", error)
            return Position(PULSES.topic, PULSES.partition, -1, 0)

    async def _read(self, reader: Reader) -> None:
        try:
            while True:
                try:
                    found = await reader.poll(1000, 1.0)
                except BusError as error:
                    log.warning("pulses cannot be read: %s", error)
                    await self._host.clock.sleep(PERIOD_S)
                    continue
                for records in found.values():
                    for record in records:
                        self._hear(record)
        finally:
            await reader.close()

    def _hear(self, record: Record) -> None:
        try:
            pulse = Pulse.FromString(record.value)
        except DecodeError:
            self._pass_over("cannot be decoded", record.offset)
            return
        before = self._seen.get((pulse.service, pulse.incarnation))
        if before is not None and pulse.number <= before.number:
            return  # repeated by the bus: no new sign of life
        foreign = pulse.incarnation != self._host.incarnation
        if before is None and foreign and len(self._seen) >= MOST_SEEN:
            self._pass_over("is of one service too many", record.offset)
            return
        if not foreign:
            self._hear_own(pulse.number, record.timestamp_ms)
        load = pulse.worker if pulse.HasField("worker") else None
        seen = Seen(pulse.service, pulse.incarnation, pulse.ready, load, self.own_read, pulse.number)
        self._seen[pulse.service, pulse.incarnation] = seen
        for listener in self.listeners:
            try:
                listener(seen)
            except Exception:
                log.exception("a listener failed on a pulse of %s", seen.service)

    def _hear_own(self, number: int, broker_ms: int) -> None:
        self.own_broker_ms = broker_ms
        if number in self._beats:  # each once, however many services pulse in it
            self._beats = {beat for beat in self._beats if beat > number}
            self.own_read += 1
            for key in [
                key for key, old in self._seen.items() if self.own_read - old.at_own > FORGOTTEN_AFTER
            ]:
                del self._seen[key]

    def _pass_over(self, why: str, offset: int) -> None:
        """Say so once in an own beat, however many a stranger sends."""
        if self._said_at != self.own_read:
            self._said_at = self.own_read
            log.error("a pulse at offset %d %s; more like it are passed over in silence", offset, why)
