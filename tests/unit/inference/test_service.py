"""The worker as its owner, moderation and billing know it: over the bus, with the synthetic engine."""

import asyncio

import pytest

from services.inference.counting import CountingEngine
from services.inference.engine import Engine, EngineError
from shared.bus.envelope import parse_envelope
from shared.bus.ports import Start, TopicPartition
from shared.configuration import config_key
from shared.contracts.freehold.control.v1 import config_pb2
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1 import request_pb2
from shared.contracts.freehold.inference.v1 import events_pb2 as events
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse
from tests.unit.inference.conftest import Served
from tests.unit.inference.world import LANE, MANIFEST, OWNER, SEAT, asking, offer_model, with_settings, world


async def test_work_is_accepted_streamed_counted_and_ended() -> None:
    async with world() as one:
        request = one.request()
        await one.work(request, asking())
        heard = await one.ended(request)
        await one.ears.until(lambda: heard.usage)
        assert [type(reply).__name__ for reply in heard.replies] == ["WorkAccepted"]
        assert heard.replies[0].weights_digest == MANIFEST.weights_sha256
        assert heard.replies[0].seat == SEAT
        assert len(heard.ids[0]) == 16
        assert heard.text[0].startswith(" ")
        end = heard.ends[0]
        assert (end.reason, end.generated, end.prompt, end.cached) == (outcome.FINISH_REASON_LENGTH, 16, 5, 0)
        (usage,) = heard.usage
        assert (usage.prompt, usage.choices[0].generated) == (5, 16)
        assert usage.reason == outcome.FINISH_REASON_LENGTH
        assert usage.weights_digest == MANIFEST.weights_sha256
        envelope = heard.usage_envelopes[0]
        assert (envelope.tenant, envelope.owner, envelope.attempt) == ("org", OWNER, 1)


async def test_an_open_says_what_moderation_needs() -> None:
    async with world() as one:
        request = one.request()
        await one.work(request, asking())
        heard = await one.ended(request)
        opened = heard.opens[0]
        assert list(opened.policies) == ["base"]
        assert (opened.config_offset, opened.window, opened.next_index, opened.context) == (7, 24, 0, "")
        assert opened.traceparent.split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
        assert {(frame.owner, frame.lane, frame.type) for frame in one.ears.frame_envelopes} == {
            (OWNER, LANE, "Frame")
        }


async def test_one_span_an_attempt_in_the_owners_trace() -> None:
    async with world() as one:
        request = one.request()
        await one.work(request, asking())
        await one.ended(request)
        (span,) = one.platform.telemetry.store.spans_of(request)
        attributes = dict(span.attributes)
        assert span.name == "inference generate"
        assert span.context.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert attributes["gen_ai.usage.output_tokens"] == 16


async def test_usage_is_durable_before_any_end_is_told() -> None:
    async with world() as one:
        requests = [one.request() for _ in range(40)]
        ended: dict[str, bool] = {}
        for request in requests:
            await one.work(request, asking(max_output=4))
        async with asyncio.timeout(20):
            while len(ended) < len(requests):
                await one.ears.listen()  # frames first, then usage
                for request in requests:
                    heard = one.ears.of(request)
                    if heard.ends:
                        assert len(heard.usage) == 1
                        ended[request] = True
                await asyncio.sleep(0)


async def test_several_choices_share_one_usage_and_end_together() -> None:
    async with world() as one:
        request = one.request()
        await one.work(request, asking(choices=[edge.Prefix(choice=n) for n in range(3)], max_output=9))
        heard = await one.ended(request, choices=3)
        await one.ears.until(lambda: heard.usage)
        assert {choice: len(ids) for choice, ids in heard.ids.items()} == {0: 9, 1: 9, 2: 9}
        assert len({tuple(ids) for ids in heard.ids.values()}) == 3
        assert [(one.choice, one.generated) for one in heard.usage[0].choices] == [(0, 9), (1, 9), (2, 9)]


async def test_a_cancelled_attempt_has_one_usage_and_an_end() -> None:
    async with world(with_settings(tokens_per_second=200.0)) as one:
        request = one.request()
        await one.work(request, asking(max_output=2_000))
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.ids.get(0, ())) > 3)
        await one.cancel(request)
        await one.ended(request)
        await one.ears.until(lambda: heard.usage)
        await one.cancel(request)
        await one.ears.listen()
        assert heard.ends[0].reason == outcome.FINISH_REASON_CANCELLED
        assert heard.ends[0].generated == len(heard.ids[0]) == heard.usage[0].choices[0].generated < 2_000
        assert len(heard.usage) == 1


async def test_a_cancel_before_its_work_leaves_a_tombstone_and_a_usage_of_nothing() -> None:
    async with world() as one:
        request = one.request()
        await one.cancel(request)
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.usage)
        await one.work(request, asking())
        await one.work(one_more := one.request(), asking())
        await one.ended(one_more)
        assert heard.replies == []
        assert heard.ids == {}
        assert (heard.usage[0].prompt, list(heard.usage[0].choices)) == (0, [])


async def test_equal_and_lower_attempts_run_once() -> None:
    async with world() as one:
        request = one.request()
        await one.work(request, asking(), attempt=2)
        await one.ended(request, attempt=2)
        await one.work(request, asking(), attempt=2)
        await one.work(request, asking(), attempt=1)
        await one.work(one_more := one.request(), asking())
        await one.ended(one_more)
        assert len(one.ears.of(request, 2).usage) == 1
        assert one.ears.of(request, 1).replies == []


async def test_a_repeated_record_of_running_work_is_answered_again() -> None:
    async with world(with_settings(tokens_per_second=100.0)) as one:
        request = one.request()
        await one.work(request, asking(max_output=1_000))
        await one.work(request, asking(max_output=1_000))
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.replies) == 2)
        await one.cancel(request)
        await one.ended(request)
        assert [type(reply).__name__ for reply in heard.replies] == ["WorkAccepted"] * 2
        assert len(heard.opens) == 1


async def test_work_for_another_incarnation_is_not_ours() -> None:
    async with world() as one:
        request = one.request()
        envelope = one.envelope("GenerateTokens", request)
        envelope.to += 1
        await one.send(envelope, asking().SerializeToString())
        await one.work(one_more := one.request(), asking())
        await one.ended(one_more)
        assert one.ears.of(request).replies == []


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "another"},
        {"weights_digest": "0" * 64},
        {"tokenizer_digest": "0" * 64},
        {"prompt_ids": [999_999]},
        {"prompt_ids": []},
        {"prompt_ids": [5] * 4_096},
        {"choices": []},
        {"choices": [edge.Prefix(choice=1), edge.Prefix(choice=1)]},
        {"choices": [edge.Prefix(choice=0, ids=[5, 6], from_index=1)]},
        {"choices": [edge.Prefix(choice=0, ids=[999_999], from_index=1)]},
        {"logprobs": True},
        {"format": request_pb2.Format(type=request_pb2.Format.TYPE_JSON)},
        {"stop": [""]},
        {"stop": ["x"] * 17},
        {"sampling": request_pb2.Sampling(temperature=float("nan"))},
        {"sampling": request_pb2.Sampling(top_p=1.5)},
        {"sampling": request_pb2.Sampling(presence_penalty=0.5)},
    ],
)
async def test_what_cannot_be_done_is_rejected_by_name(served: Served, changes: dict[str, object]) -> None:
    one = served.world
    request = one.request()
    await one.work(request, asking(**changes))
    heard = one.ears.of(request)
    await one.ears.until(lambda: heard.replies)
    assert heard.replies == [events.WorkRejected(reason=events.REJECT_REASON_MODEL)]
    assert heard.usage == []


async def test_a_full_worker_says_so() -> None:
    async with world(with_settings(slots=2, queue=1, tokens_per_second=50.0)) as one:
        requests = [one.request() for _ in range(4)]
        for request in requests:
            await one.work(request, asking(max_output=1_000))
        last = one.ears.of(requests[-1])
        await one.ears.until(lambda: last.replies)
        assert last.replies == [events.WorkRejected(reason=events.REJECT_REASON_FULL)]
        load = one.service.load()
        assert (load.slots, load.free_slots, load.queued) == (2, 0, 1)
        for request in requests:
            await one.cancel(request)
        for request in requests[:3]:
            await one.ended(request)
        assert one.service.load().free_slots == 2


async def test_work_that_the_cells_cannot_hold_is_rejected() -> None:
    async with world(with_settings(cells=256, tokens_per_second=50.0)) as one:
        first, second = one.request(), one.request()
        await one.work(first, asking(max_output=200))
        await one.work(second, asking(max_output=200))
        heard = one.ears.of(second)
        await one.ears.until(lambda: heard.replies)
        assert heard.replies == [events.WorkRejected(reason=events.REJECT_REASON_CELLS)]
        assert one.service.load().free_cells == 256 - 205
        await one.cancel(first)
        await one.ended(first)
        assert one.service.load().free_cells == 256


async def test_a_prompt_seen_before_is_cached_for_its_tenant_only() -> None:
    async with world() as one:
        cached = []
        for salt in (b"a", b"a", b"b"):
            request = one.request()
            await one.work(request, asking(prompt_ids=range(100, 200), tenant_salt=salt))
            heard = await one.ended(request)
            cached.append(heard.ends[0].cached)
        assert cached == [0, 96, 0]


async def test_a_resumed_attempt_goes_on_behind_its_prefix() -> None:
    async with world() as one:
        whole = one.request()
        await one.work(whole, asking(max_output=20))
        before = await one.ended(whole)
        prefix = edge.Prefix(choice=0, ids=before.ids[0][:8], from_index=8)
        rest = one.request()
        await one.work(rest, asking(choices=[prefix], max_output=20), attempt=2)
        heard = await one.ended(rest, attempt=2)
        await one.ears.until(lambda: heard.usage)
        assert heard.ids[0] == before.ids[0][8:]
        opened = heard.opens[0]
        assert opened.next_index == 8
        said = before.text[0][: sum(before.lengths[0][:8])]
        assert said.endswith(opened.context)
        assert sum(character.isalnum() for character in opened.context) >= min(24, len(said) // 2)
        assert heard.usage[0].choices[0].generated == heard.ends[0].generated == 12
        assert heard.ends[0].prompt == 5


async def test_a_whole_prefix_ends_at_once_with_usage() -> None:
    async with world() as one:
        request = one.request()
        prefix = edge.Prefix(choice=0, ids=[500, 2], from_index=2)
        await one.work(request, asking(choices=[prefix]), attempt=2)
        heard = await one.ended(request, attempt=2)
        await one.ears.until(lambda: heard.usage)
        assert (heard.ends[0].reason, heard.ends[0].generated) == (outcome.FINISH_REASON_STOP, 0)
        assert heard.usage[0].choices[0].generated == 0


async def test_text_is_held_while_a_stop_may_come_and_never_told_after() -> None:
    async with world() as one:
        plain = one.request()
        await one.work(plain, asking())
        text = (await one.ended(plain)).text[0]
        stop = text[7:12]
        request = one.request()
        await one.work(request, asking(stop=[stop]))
        heard = await one.ended(request)
        assert heard.text[0] == text[: text.index(stop)]
        assert heard.ends[0].reason == outcome.FINISH_REASON_STOP
        assert len(heard.ids[0]) == heard.ends[0].generated == len(heard.lengths[0])


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
