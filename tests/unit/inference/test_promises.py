"""Usage is exact and first; frames survive a faltering bus; nothing runs for owners that are gone."""

import asyncio
import random
from collections.abc import Awaitable

import pytest

from services.inference.attempts.attempt import Attempt, Stream, Work, context_of
from services.inference.attempts.tap import Tap
from services.inference.attempts.tombstones import KEEP_S, MOST, Tombstones
from services.inference.attempts.watch import STANDING_S
from services.inference.engine import Engine, Sampling
from services.inference.engines.counting import CountingEngine
from services.inference.streams.frames import FLUSH_S, REOPEN_S, build_frame
from shared.bus.envelope import Envelope
from shared.bus.local import LocalBus
from shared.bus.ports import BusError, BusFull, Headers, Position
from shared.contracts.freehold.inference.v1 import frame_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse
from tests.unit.inference.world import OWNER, asking, with_settings, world


class FaultyBus(LocalBus):
    """The local bus, which refuses or withholds the acknowledgements of one topic for a while."""

    refusing = ""
    withholding = ""
    lost = ""
    """Topic whose records are written while their publisher is told that they may not be."""

    def __init__(self, inner: LocalBus) -> None:
        self.__dict__.update(inner.__dict__)
        self.let_go = asyncio.Event()
        self.published: list[tuple[str, Headers]] = []

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        if topic == self.refusing:
            raise BusFull(f"{topic} is full")
        sent = super().publish(topic, value, headers, key=key, partition=partition)
        self.published.append((topic, headers))
        if topic == self.withholding:
            return asyncio.ensure_future(self._withhold(sent))
        if topic == self.lost:
            return asyncio.ensure_future(self._lose(sent))
        return sent

    async def _withhold(self, sent: Awaitable[Position]) -> Position:
        position = await sent
        await self.let_go.wait()
        return position

    async def _lose(self, sent: Awaitable[Position]) -> Position:
        await sent
        raise BusError("the acknowledgement was lost")


async def test_no_end_before_usage_is_acknowledged() -> None:
    faulty: list[FaultyBus] = []

    def bus_of(local: LocalBus) -> FaultyBus:
        faulty.append(FaultyBus(local))
        return faulty[0]

    async with world(bus_of=bus_of) as one:
        faulty[0].withholding = "usage"
        request = one.request()
        await one.work(request, asking())
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.ids.get(0, ())) == 16)
        for _ in range(20):
            await asyncio.sleep(FLUSH_S / 4)
            await one.ears.listen()
        assert heard.ends == {}
        faulty[0].let_go.set()
        await one.ended(request)


@pytest.mark.parametrize("fault", ["refusing", "lost"])
async def test_usage_is_published_until_it_is_acknowledged(fault: str) -> None:
    faulty: list[FaultyBus] = []

    def bus_of(local: LocalBus) -> FaultyBus:
        faulty.append(FaultyBus(local))
        return faulty[0]

    async with world(bus_of=bus_of) as one:
        setattr(faulty[0], fault, "usage")
        request = one.request()
        await one.work(request, asking())
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.ids.get(0, ())) == 16)
        await asyncio.sleep(0.05)
        setattr(faulty[0], fault, "")
        await one.ended(request)
        await one.ears.until(lambda: heard.usage)
        assert len({envelope.event_id for envelope in heard.usage_envelopes}) == 1
        assert all(usage == heard.usage[0] for usage in heard.usage)


async def test_a_frame_is_repeated_as_it_was_until_it_is_acknowledged() -> None:
    faulty: list[FaultyBus] = []

    def bus_of(local: LocalBus) -> FaultyBus:
        faulty.append(FaultyBus(local))
        return faulty[0]

    async with world(bus_of=bus_of) as one:
        faulty[0].refusing = "frames"
        request = one.request()
        await one.work(request, asking())
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.usage)
        assert heard.ids == {}
        faulty[0].refusing = ""
        await one.ended(request)
        assert len(heard.ids[0]) == 16


async def test_attempts_rest_while_frames_are_not_acknowledged() -> None:
    faulty: list[FaultyBus] = []
    engines: list[CountingEngine] = []

    def bus_of(local: LocalBus) -> FaultyBus:
        faulty.append(FaultyBus(local))
        return faulty[0]

    def around(engine: Engine) -> CountingEngine:
        engines.append(CountingEngine(engine))
        return engines[0]

    async with world(with_settings(tokens_per_second=200.0), bus_of=bus_of, around=around) as one:
        faulty[0].withholding = "frames"
        request = one.request()
        await one.work(request, asking(max_output=3_000))
        await one.ears.until(lambda: engines[0].drawn)
        await asyncio.sleep(STANDING_S + 0.7)
        (drawn,) = engines[0].drawn.values()
        await asyncio.sleep(0.1)
        assert engines[0].drawn == {next(iter(engines[0].drawn)): drawn}
        faulty[0].withholding = ""
        faulty[0].let_go.set()
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.ids.get(0, ())) > drawn + 3)
        await one.cancel(request)
        await one.ended(request)


async def test_what_belongs_to_an_owner_that_is_gone_stops_and_is_counted() -> None:
    async with world(with_settings(tokens_per_second=50.0)) as one:
        pulse = Pulse(service="edge", incarnation=OWNER, ready=True, number=1)
        headers = Envelope("Pulse", "owner", OWNER).headers()
        await one.bus.publish("pulses", pulse.SerializeToString(), headers, partition=0)
        request = one.request()
        await one.work(request, asking(max_output=3_000))
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.ids)
        one.platform.pulses.own_read += 9  # own pulses that were read back meanwhile
        await one.ears.until(lambda: heard.usage)
        assert heard.usage[0].reason == outcome.FINISH_REASON_CANCELLED
        assert 0 < heard.usage[0].choices[0].generated < 3_000
        assert one.service.load().free_slots == one.service.load().slots


async def test_200_abandoned_streams_bill_what_the_engine_drew() -> None:
    engines: list[CountingEngine] = []

    def around(engine: Engine) -> CountingEngine:
        engines.append(CountingEngine(engine))
        return engines[0]

    chance = random.Random(4)
    settings = with_settings(tokens_per_second=400.0, slots=64, queue=200)
    async with world(settings, around=around) as one:
        requests = [one.request() for _ in range(200)]
        for request in requests:
            await one.work(request, asking(max_output=chance.choice([20, 300]), stop=["e s"]))
        for request in chance.sample(requests, 200):
            await asyncio.sleep(0.002)
            await one.cancel(request)
            await one.ears.listen()
        for request in requests:
            await one.ended(request)
        await one.ears.until(lambda: all(one.ears.of(request).usage for request in requests))
        drawn = dict.fromkeys(requests, 0)
        for stream, count in engines[0].drawn.items():
            assert isinstance(stream, Stream)
            drawn[stream.attempt.envelope.request] += count
        heard = {request: one.ears.of(request) for request in requests}
        billed = {request: one.usage[0].choices[0].generated for request, one in heard.items()}
        assert billed == drawn
        for request, one_heard in heard.items():
            held = drawn[request] - len(one_heard.ids.get(0, ()))
            cancelled = one_heard.ends[0].reason == outcome.FINISH_REASON_CANCELLED
            assert 0 <= held <= (2 if cancelled else 0), (
                "what may be the beginning of a stop is not given out"
            )
        assert all(len(one.usage) == 1 for one in heard.values())
        assert len({one.ends[0].reason for one in heard.values()}) > 1


def stream_of(window: int = 4, tail: str = "") -> Stream:
    work = Work((1,), (), Sampling(), 0, (), 9, b"", ("base",), window)
    envelope = Envelope("GenerateTokens", "", 0, request="01900000-0000-7000-8000-000000000001", attempt=2)
    return Stream(Attempt(envelope, work, Tap(), 0, 0, 0.0), 0, 3, tail)


def test_an_open_comes_again_with_what_was_said_last() -> None:
    stream = stream_of()
    stream.take(3, [10, 11], [2, 3], "ab, cd")
    first = build_frame([stream], 0.0)
    stream.take(5, [12], [2], " e")
    middle = build_frame([stream], REOPEN_S - 0.1)
    stream.take(6, [13], [1], "f")
    last = build_frame([stream], REOPEN_S)
    assert ([one.next_index for one in first.opens], list(first.text)) == ([3], ["ab, cd"])
    assert (len(middle.opens), list(middle.text)) == (0, [" e"])
    assert [(one.next_index, one.context) for one in last.opens] == [(6, "b, cd e")]
    assert frame_pb2.Frame.FromString(last.SerializeToString()) == last


def test_texts_between_two_flushes_are_one_entry() -> None:
    stream = stream_of()
    stream.take(3, [10], [1], "a")
    stream.take(4, [11, 12], [0, 1], "b")
    frame = build_frame([stream], 0.0)
    assert list(frame.text_index) == [3]
    assert (list(frame.text_count), list(frame.ids), list(frame.lengths)) == ([3], [10, 11, 12], [1, 0, 1])


@pytest.mark.parametrize(
    ("tail", "window", "context"),
    [
        ("abcdef", 3, "def"),
        ("ab--cd", 3, "b--cd"),
        ("a\u200db\u200dc", 2, "b\u200dc"),
        ("ab", 3, "ab"),
        ("", 3, ""),
        ("abc", 0, ""),
    ],
)
def test_the_context_has_enough_visible_code_points(tail: str, window: int, context: str) -> None:
    assert context_of(tail, window) == context


def test_the_tail_is_bounded() -> None:
    stream = stream_of(window=2)
    for index in range(3, 3_000):
        stream.take(index, [1], [1], "x")
        stream.flushed("x")
    assert 771 <= len(stream.tail) <= 1_542


def test_tombstones_last_15_minutes_and_are_bounded() -> None:
    stones = Tombstones(0.0)
    stones.bury("a", 3, 1.0)
    assert (stones.seen("a"), stones.seen("b")) == (3, 0)
    stones.bury("a", 2, 2.0)
    assert stones.seen("a") == 3
    stones.bury("b", 1, KEEP_S)
    assert stones.seen("a") == 3
    stones.bury("c", 1, 2 * KEEP_S)
    assert (stones.seen("a"), stones.seen("b")) == (0, 1)
    for number in range(2 * MOST):
        stones.bury(str(number), 1, 2 * KEEP_S + 1)
    assert stones.seen("c") == 0
    assert stones.seen(str(2 * MOST - 1)) == 1
