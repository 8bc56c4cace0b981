"""The worker as its owner, moderation and billing know it: over the bus, with the synthetic engine."""

import asyncio

import pytest

from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.unit.inference.world import LANE, MANIFEST, OWNER, SEAT, asking, world


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


@pytest.mark.attack(41)
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
