"""Which work a worker takes: once, while it has room, as asked for, until it is cancelled."""

from dataclasses import replace

import pytest

from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1 import request_pb2
from shared.contracts.freehold.inference.v1 import events_pb2 as events
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.unit.inference.conftest import Served
from tests.unit.inference.world import asking, with_settings, world


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


async def test_who_does_not_own_an_attempt_does_not_cancel_it() -> None:
    async with world(with_settings(tokens_per_second=200.0)) as one:
        request = one.request()
        await one.work(request, asking(max_output=40))
        heard = one.ears.of(request)
        await one.ears.until(lambda: len(heard.ids.get(0, ())) > 3)
        await one.send(replace(one.envelope("CancelGeneration", request), owner=99))
        await one.ended(request)
        assert heard.ends[0].reason == outcome.FINISH_REASON_LENGTH
        assert heard.ends[0].generated == 40


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
