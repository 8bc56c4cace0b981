"""The output handler over a bus that fails: what was vetted is delivered, once and in order."""

import asyncio
from collections import deque

import pytest
from prometheus_client import CollectorRegistry

from services.moderation.handlers import TURN_S, OutputHandler
from services.moderation.observing import Observer
from services.moderation.output.streams import FrameError, Streams
from services.moderation.policy import PolicyPending, PolicyUnknown
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.handling import Batch, Later
from shared.bus.ports import Acknowledged, BusError, Position, Record
from shared.clock import SystemClock
from shared.configuration import Configuration
from shared.contracts.freehold.inference.v1.frame_pb2 import Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame
from shared.host import system_host
from shared.telemetry import Telemetry, TelemetrySettings
from tests.unit.moderation.lanes import A, B, frame, shown


class Bus:
    """Takes records; fails as often as it is told."""

    def __init__(self):
        self.failures = deque()
        self.taken = []

    def publish(self, topic, value, headers=(), *, key=None, partition=None):
        if self.failures and self.failures.popleft():
            raise BusError("not now")
        self.taken.append((topic, partition, parse_envelope(headers), VettedFrame.FromString(value)))
        return Acknowledged(Position(topic, partition, len(self.taken), 0))


class Packs:
    def __init__(self, policy):
        self.policy = policy

    def find(self, policies):
        if "pending" in policies:
            raise PolicyPending("pending")
        if "unknown" in policies:
            raise PolicyUnknown("policy unknown is not published")
        return self.policy


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def handler(bus, small_policy):
    packs = Packs(small_policy)
    telemetry = Telemetry(system_host(), TelemetrySettings(), CollectorRegistry())
    observer = Observer(telemetry, SystemClock())
    return OutputHandler(
        Configuration(), packs, lambda: Streams(packs.find, observer, 30.0), bus, 9, observer, SystemClock()
    )


def batch(*frames, lane=2):
    headers = Envelope("Frame", "e", 5, owner=77, lane=lane).headers()
    records = [
        Record("frames", lane, offset, 0, None, one.SerializeToString(), headers)
        for offset, one in enumerate(frames)
    ]
    return Batch("frames", lane, records)


def texts(bus, request=A):
    return [shown(vetted).get(request) for _, _, _, vetted in bus.taken]


FIRST = frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["one ", "tw"])])
SECOND = frame((A, 1), texts=[(0, 2, ["o. ", "three "])])
LAST = frame((A, 1), texts=[(0, 4, ["four"])], ends=[0])


async def test_answers_go_to_the_owner_on_the_same_lane(handler, bus):
    await handler(batch(FIRST))
    ((topic, lane, envelope, _),) = bus.taken
    assert (topic, lane, envelope.lane, envelope.to, envelope.owner, envelope.sender) == (
        "completions", 2, 2, 77, 77, 9,
    )  # fmt: skip
    assert envelope.type == "VettedFrame"


@pytest.mark.parametrize("failures", [[1], [0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1, 0, 1], [1, 0, 1, 0, 1]])
async def test_a_failing_bus_loses_and_repeats_nothing(handler, bus, failures):
    bus.failures.extend(failures)
    again = batch(FIRST, SECOND, LAST)
    for _ in range(20):
        try:
            await handler(again)
        except BusError:
            continue
        break
    following, text = 0, ""
    for _, _, _, vetted in bus.taken:
        for index, count, piece in zip(
            vetted.frame.text_index, vetted.frame.text_count, vetted.frame.text, strict=True
        ):
            assert index <= following, "an owner would see a gap"
            if index == following:
                following, text = index + count, text + piece
    assert text == "one two. three four"
    assert bus.taken[-1][3].frame.ends


async def test_a_batch_that_is_handed_again_has_no_second_effect(handler, bus):
    await handler(batch(FIRST, SECOND))
    before = len(bus.taken)
    await handler(batch(FIRST, SECOND))
    assert len(bus.taken) == before


class Slow(SystemClock):
    """A clock by which a frame takes longer than the loop can spare."""

    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        self.seconds += TURN_S
        return self.seconds


async def test_a_long_batch_leaves_the_loop_its_turns(handler, bus):
    handler._clock = Slow()
    beside = []

    async def watch():
        while len(bus.taken) < 3:
            beside.append(len(bus.taken))
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    await handler(batch(FIRST, SECOND, LAST))
    assert texts(bus) == [(0, "one "), (1, "two. three "), (4, "four")]
    await watching
    assert {1, 2} <= set(beside)


async def test_a_frame_at_fault_stops_its_batch_before_any_effect(handler, bus):
    wrong = Frame(request=[B], attempt=[1], choice=[0], ids=[1])
    with pytest.raises(FrameError):
        await handler(batch(FIRST, wrong))
    assert not bus.taken
    await handler(batch(FIRST))
    assert texts(bus) == [(0, "one ")]


async def test_a_stream_waits_for_its_policy_and_its_configuration(handler, bus):
    pending = frame((B, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])], policies=["pending"])
    ahead = frame((B, 1), texts=[])
    ahead.opens.append(Open(stream=0, config_offset=1))
    for one in (pending, ahead):
        with pytest.raises(Later):
            await handler(batch(FIRST, one))
    assert not bus.taken
    unknown = frame((B, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])], policies=["unknown"])
    await handler(batch(FIRST, unknown))
    assert texts(bus) == [(0, "one "), None]
    assert bus.taken[1][3].broken
