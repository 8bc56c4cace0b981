"""One request through its owner, over the bus, with the other services scripted."""

from __future__ import annotations

import hashlib

import pytest

from services.edge.answer import Answer
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.moderation.v1.events_pb2 import RedactedSpan, StreamRefused
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from shared.money import Prices, charge
from shared.telemetry import parse_traceparent
from tests.integration.owner_script import (
    SEAT,
    TEMPLATE,
    VOCABULARY,
    WEIGHTS,
    WORKER,
    a_frame,
    a_pass,
    a_reservation,
    a_submission,
    an_encoding,
    an_end,
    text_of,
)
from tests.integration.owner_world import a_world


def told(answer: Answer) -> Kind | None:
    assert answer.outcome is not None
    return None if answer.outcome.error is None else answer.outcome.error.kind


async def test_acceptance_asks_all_steps_side_by_side() -> None:
    async with a_world() as world:
        submission = a_submission()
        answer = world.submit(submission)
        accepted = await world.one(edge.RequestAccepted)
        reserve = await world.one(edge.ReserveBudget)
        assert accepted.message.request == submission.request
        assert list(accepted.message.policies) == ["base", "strict"]
        assert accepted.envelope.request == answer.request
        assert accepted.envelope.tenant == "ministry"
        assert accepted.envelope.owner == 0xED6E
        assert accepted.envelope.lane in (1, 3)
        assert accepted.envelope.ttl_ms == 120_000
        assert accepted.envelope.config_offset == world.platform.configuration.offset
        trace = parse_traceparent(accepted.envelope.traceparent)
        assert trace is not None
        assert trace.trace_id == b"t" * 16
        assert reserve.message.prompt_bound == len("mail jo@example.org") + 16 + 8
        assert reserve.message.max_output == 20
        assert reserve.message.body_fingerprint == b"f" * 32


async def test_a_streamed_request_from_dispatch_to_close() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        assert (work.partition, work.envelope.to, work.envelope.attempt) == (SEAT, WORKER, 1)
        assert list(work.message.prompt_ids) == list(range(100, 106))
        assert [(choice.choice, choice.from_index) for choice in work.message.choices] == [(0, 0)]
        assert (work.message.max_output, work.message.window) == (20, 16)
        assert work.message.sampling.temperature == 0.5
        assert work.message.seed
        assert len(work.message.tenant_salt) == 32

        await world.accept(work)
        await world.vet(work, 0, "Hel")
        assert text_of(answer) == "Hel"
        await world.vet(work, 3, "lo", end=an_end(5))
        assert text_of(answer) == "lo"
        end = answer.outcome
        assert end is not None
        prices = Prices(10_000, 5_000, 20_000)
        assert end.price == charge(prices, 6, 4, 5, 10**9).total
        assert (end.prompt, end.cached, end.delivered, end.billed) == (6, 4, 5, 5)
        assert (end.weights_digest, end.tokenizer_digest, end.template_digest) == (
            WEIGHTS,
            VOCABULARY,
            TEMPLATE,
        )
        assert (end.verdict, end.policy_versions) == (outcome.VERDICT_ALLOW, ("base@1",))
        assert end.limited

        closed = await world.closed(answer.request)
        assert closed.state == outcome.TERMINAL_STATE_COMPLETED
        assert closed.finish == outcome.FINISH_REASON_STOP
        assert (closed.project, closed.key, closed.model) == ("archive", "key-1", "m")
        (attempt,) = closed.attempts
        assert (attempt.attempt, attempt.accepted) == (1, edge.ACCEPTED_YES)
        assert [(c.choice, c.from_index, c.delivered) for c in attempt.choices] == [(0, 0, 5)]
        assert closed.answer_hash == hashlib.sha256(b"Hello\0").digest()
        assert closed.request_hash == b"f" * 32
        assert closed.accepted_ns <= closed.first_text_ns <= closed.closed_ns
        assert closed.kind == ""
        assert closed.streamed
        assert not closed.resumed
        assert not world.all_of(edge.CancelGeneration)


async def test_a_plain_answer_is_delivered_when_its_body_is_sent() -> None:
    async with a_world() as world:
        answer = world.submit(streamed=False)
        work = await world.prepare(answer)
        await world.vet(work, 0, "Hi", end=an_end(2))
        assert told(answer) is None
        await world.advance(1)
        assert not world.all_of(edge.RequestClosed)
        answer.on_sent()
        closed = await world.closed(answer.request)
        assert closed.state == outcome.TERMINAL_STATE_COMPLETED
        assert closed.attempts[0].choices[0].delivered == 2
        assert closed.answer_hash == hashlib.sha256(b"Hi\0").digest()


async def test_a_plain_answer_whose_client_left_delivered_nothing() -> None:
    async with a_world() as world:
        answer = world.submit(streamed=False)
        work = await world.prepare(answer)
        await world.vet(work, 0, "Hi", end=an_end(2))
        answer.leave("client_gone")
        answer.on_sent()
        closed = await world.closed(answer.request)
        assert closed.state == outcome.TERMINAL_STATE_CANCELLED
        assert closed.attempts[0].choices[0].delivered == 0
        assert closed.answer_hash == hashlib.sha256(b"\0").digest()
        assert not world.all_of(edge.CancelGeneration), "nothing runs any more"


@pytest.mark.parametrize("policy_too", [False, True])
async def test_the_stricter_refusal_is_told(policy_too: bool) -> None:
    async with a_world() as world:
        answer = world.submit()
        asked = (await world.one(edge.RequestAccepted)).envelope
        budget = outcome.RequestRefused(by=outcome.REFUSER_BILLING, kind="BUDGET", message="no money")
        await world.reply(asked, budget)
        await world.advance(0.1)
        assert answer.outcome is None
        if policy_too:
            refusal = outcome.RequestRefused(
                by=outcome.REFUSER_POLICY,
                kind="POLICY",
                message="not allowed",
                rule="r7",
                policy_versions=["base@1"],
                matches=[outcome.RuleMatch(rule="r7", action=outcome.VERDICT_REFUSE)],
            )
            await world.reply(asked, refusal)
        await world.advance(0.3)
        assert told(answer) is (Kind.POLICY if policy_too else Kind.BUDGET)
        closed = await world.closed(answer.request)
        assert closed.state == outcome.TERMINAL_STATE_REFUSED
        assert closed.kind == ("POLICY" if policy_too else "BUDGET")
        assert not closed.attempts
        if policy_too:
            assert closed.input_verdict == outcome.VERDICT_REFUSE
            assert closed.matches[0].rule == "r7"


async def test_a_redacted_prompt_is_encoded_again() -> None:
    async with a_world() as world:
        answer = world.submit()
        asked = (await world.one(edge.RequestAccepted)).envelope
        redact = a_pass(outcome.VERDICT_REDACT)
        redact.spans.append(RedactedSpan(field="messages[0].parts[0]", start=5, end=19, label="email"))
        await world.reply(asked, an_encoding(9))
        await world.reply(asked, a_reservation())
        await world.reply(asked, redact)
        redacted = await world.one(edge.PromptRedacted)
        assert redacted.message.accepted.request.messages[0].parts[0] == "mail [email]"
        assert (redacted.message.revision, redacted.envelope.revision) == (1, 1)
        assert not world.all_of(edge.GenerateTokens)
        await world.reply(asked, an_encoding(4, revision=1))
        work = await world.one(edge.GenerateTokens)
        assert len(work.message.prompt_ids) == 4
        await world.vet(work, 0, "k", end=an_end(1))
        closed = await world.closed(answer.request)
        assert closed.input_verdict == outcome.VERDICT_REDACT


async def test_spans_outside_the_request_fail_it() -> None:
    async with a_world() as world:
        answer = world.submit()
        asked = (await world.one(edge.RequestAccepted)).envelope
        redact = a_pass(outcome.VERDICT_REDACT)
        redact.spans.append(RedactedSpan(field="messages[4].parts[0]", start=0, end=1, label="x"))
        await world.reply(asked, redact)
        assert told(answer) is Kind.FAILED


async def test_leaving_before_dispatch_cancels_nothing_at_a_worker() -> None:
    async with a_world() as world:
        answer = world.submit()
        answer.leave("client_gone")
        closed = await world.closed(answer.request)
        assert closed.state == outcome.TERMINAL_STATE_CANCELLED
        assert (closed.kind, closed.code) == ("CANCELLED", "client_gone")
        assert not world.all_of(edge.CancelGeneration)
        asked = (await world.one(edge.RequestAccepted)).envelope
        for late in (a_pass(), an_encoding(), a_reservation()):
            await world.reply(asked, late)
        assert not world.all_of(edge.GenerateTokens), "late answers have no effect"


async def test_leaving_after_dispatch_cancels_behind_the_work() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.accept(work)
        await world.vet(work, 0, "ab")
        answer.leave("client_gone")
        cancel = await world.one(edge.CancelGeneration)
        assert (cancel.partition, cancel.envelope.to, cancel.envelope.attempt) == (SEAT, WORKER, 1)
        assert cancel.offset > work.offset
        assert cancel.envelope.ttl_ms == 0
        await world.vet(work, 2, "cd", end=an_end(4))
        assert text_of(answer) == "ab"
        closed = await world.closed(answer.request)
        assert closed.attempts[0].choices[0].delivered == 2


async def test_a_deadline_ends_a_running_request() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.vet(work, 0, "ab")
        await world.advance(119)
        assert answer.outcome is None
        await world.advance(1.2)
        assert told(answer) is Kind.EXPIRED
        assert (await world.closed(answer.request)).state == outcome.TERMINAL_STATE_EXPIRED
        assert len(world.all_of(edge.CancelGeneration)) == 1


async def test_silent_billing_fails_the_request_within_20_s() -> None:
    async with a_world() as world:
        answer = world.submit()
        asked = (await world.one(edge.RequestAccepted)).envelope
        await world.reply(asked, a_pass())
        await world.reply(asked, an_encoding())
        await world.advance(19.5)
        assert answer.outcome is None
        await world.advance(0.7)
        assert told(answer) is Kind.FAILED
        assert len(world.all_of(edge.ReserveBudget)) == 1, "nothing is published again"


async def test_output_refused_by_policy_ends_the_stream() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.vet(work, 0, "ok")
        refused = StreamRefused(
            stream=0,
            match=outcome.RuleMatch(rule="out1", policy_version="base@1", action=outcome.VERDICT_REFUSE),
            policy_versions=["base@1"],
        )
        frame = a_frame(work)
        frame.refused.append(refused)
        await world.complete(work.envelope, frame)
        assert told(answer) is Kind.POLICY
        assert text_of(answer) == "ok"
        closed = await world.closed(answer.request)
        assert closed.output_verdict == outcome.VERDICT_REFUSE
        assert closed.attempts[0].choices[0].delivered == 2
        assert len(world.all_of(edge.CancelGeneration)) == 1


async def test_one_span_a_request_in_the_clients_trace() -> None:
    async with a_world() as world:
        answer = world.submit()
        work = await world.prepare(answer)
        await world.vet(work, 0, "ab", end=an_end(2))
        await world.closed(answer.request)
        (span,) = world.platform.telemetry.store.spans_of(answer.request)
        assert (span.service, span.name, span.parent) == ("edge", "edge.request", b"s" * 8)
        attributes = dict(span.attributes)
        assert attributes["gen_ai.usage.output_tokens"] == 2
        assert attributes["gen_ai.request.model"] == "m"
        assert attributes["freehold.state"] == "completed"
        assert len(span.attributes) <= 8
        work_trace = parse_traceparent(work.envelope.traceparent)
        assert work_trace is not None
        assert work_trace.span_id == span.context.span_id
