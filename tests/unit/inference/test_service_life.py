"""A worker that is not ready yet, fails, breaks or stops, as its owner and billing know it."""

import threading

from services.inference.engine import Engine, EngineError
from services.inference.engines.counting import CountingEngine
from shared.bus.envelope import parse_envelope
from shared.bus.ports import Start, TopicPartition
from shared.configuration import config_key
from shared.contracts.freehold.control.v1 import config_pb2
from shared.contracts.freehold.inference.v1 import events_pb2 as events
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse
from tests.unit.inference.world import MANIFEST, SEAT, asking, offer_model, with_settings, world


class FailingEngine(CountingEngine):
    """Fails its steps when told."""

    failing = False
    broken = False

    def step(self, parts):  # type: ignore[no-untyped-def]
        if self.broken:
            raise RuntimeError("the device is gone")
        if self.failing:
            raise EngineError("no cells")
        return super().step(parts)


async def test_a_failed_step_fails_its_attempts_and_the_next_ones_run() -> None:
    engines: list[FailingEngine] = []

    def around(engine: Engine) -> Engine:
        engines.append(FailingEngine(engine))
        return engines[0]

    async with world(around=around) as one:
        engines[0].failing = True
        request = one.request()
        await one.work(request, asking())
        heard = await one.ended(request)
        await one.ears.until(lambda: heard.usage)
        assert heard.replies[-1] == events.WorkFailed(reason=events.FAIL_REASON_ENGINE)
        assert heard.ends[0].reason == heard.usage[0].reason == outcome.FINISH_REASON_FAILED
        engines[0].failing = False
        await one.work(one_more := one.request(), asking())
        assert (await one.ended(one_more)).ends[0].generated == 16
        assert one.service.readiness().ready


async def test_a_broken_engine_ends_what_runs_and_is_not_ready() -> None:
    engines: list[FailingEngine] = []

    def around(engine: Engine) -> Engine:
        engines.append(FailingEngine(engine))
        return engines[0]

    async with world(with_settings(tokens_per_second=100.0), around=around) as one:
        request = one.request()
        await one.work(request, asking(max_output=1_000))
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.ids.get(0, ())) > 2)
        engines[0].broken = True
        await one.ended(request)
        await one.ears.until(lambda: heard.usage)
        assert heard.replies[-1] == events.WorkFailed(reason=events.FAIL_REASON_ENGINE)
        assert heard.usage[0].choices[0].generated == len(heard.ids[0])
        assert "the device is gone" in one.service.readiness().reason
        await one.work(late := one.request(), asking())
        await one.ears.until(lambda: one.ears.of(late).replies)
        assert one.ears.of(late).replies == [events.WorkRejected(reason=events.REJECT_REASON_FULL)]


async def test_an_engine_that_does_not_come_back_from_a_step_is_given_up() -> None:
    hanging, released = threading.Event(), threading.Event()

    class HangingEngine(CountingEngine):
        def step(self, parts):  # type: ignore[no-untyped-def]
            if hanging.is_set():
                released.wait()
            return super().step(parts)

    try:
        settings = with_settings(tokens_per_second=100.0, stalled_s=2.0)
        async with world(settings, around=HangingEngine) as one:
            request = one.request()
            await one.work(request, asking(max_output=1_000))
            heard = one.ears.of(request)
            await one.ears.until(lambda: heard.ids)
            hanging.set()
            await one.ended(request)
            assert heard.replies[-1] == events.WorkFailed(reason=events.FAIL_REASON_ENGINE)
            assert heard.usage[0].choices[0].generated == len(heard.ids[0])
            assert "has not come back" in one.service.readiness().reason
            released.set()
            await one.work(late := one.request(), asking())
            await one.ears.until(lambda: one.ears.of(late).replies)
            assert one.ears.of(late).replies == [events.WorkRejected(reason=events.REJECT_REASON_FULL)]
            assert len(heard.usage) == 1
    finally:
        released.set()


async def test_a_stop_tells_owners_that_it_drains_and_loses_no_usage() -> None:
    async with world(with_settings(tokens_per_second=100.0)) as one:
        request = one.request()
        await one.work(request, asking(max_output=3_000))
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.ids)
        await one.service.stop(one.platform.host.clock.monotonic() + 2.2)
        await one.ended(request)
        await one.ears.until(lambda: heard.usage)
        assert heard.replies[-1] == events.WorkFailed(reason=events.FAIL_REASON_DRAINING)
        assert heard.usage[0].choices[0].generated == heard.ends[0].generated == len(heard.ids[0])


async def test_a_stop_lets_short_work_finish() -> None:
    async with world(with_settings(tokens_per_second=100.0)) as one:
        request = one.request()
        await one.work(request, asking(max_output=20))
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.ids)
        await one.service.stop(one.platform.host.clock.monotonic() + 10.0)
        await one.ended(request)
        assert heard.ends[0].reason == outcome.FINISH_REASON_LENGTH


async def test_no_seat_and_no_pulse_before_the_configuration_agrees() -> None:
    async with world(ready=False) as one:
        pulses = await one.bus.assign([TopicPartition("pulses", 0)], Start.BEGINNING)
        marker = config_pb2.Marker(epoch=1).SerializeToString()
        await offer_model(one.bus, weights_digest="0" * 64)
        await one.bus.publish("config", marker, key=config_key("marker", "marker"))
        await one.platform.config.wait_ready()
        assert "other digests" in one.service.readiness().reason
        assert await pulses.poll(10, 0.0) == {}
        await offer_model(one.bus)
        await one.ears.until(lambda: one.service.readiness().ready)
        found = await pulses.poll(10, 5.0)
        record = next(iter(found.values()))[0]
        pulse = Pulse.FromString(record.value)
        assert parse_envelope(record.headers).sender == one.platform.host.incarnation
        assert (pulse.worker.seat, pulse.worker.models[0].name) == (SEAT, MANIFEST.name)
        assert pulse.worker.free_slots == pulse.worker.slots == 256
        await pulses.close()
