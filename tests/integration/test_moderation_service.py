"""Moderation as a process runs it: verdicts and vetted frames, and nothing where it cannot judge."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from services.moderation.matching.pack import load_pack
from shared.bus.envelope import parse_envelope
from shared.callers import OPERATOR, Caller
from shared.configuration import config_key
from shared.contracts.freehold.control.v1.config_pb2 import Organisation, Policy
from shared.contracts.freehold.edge.v1.events_pb2 import RequestAccepted
from shared.contracts.freehold.moderation.v1 import moderation_pb2 as rpc
from shared.contracts.freehold.moderation.v1.events_pb2 import Screened
from shared.contracts.freehold.moderation.v1.moderation_pb2_grpc import ModerationStub
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.rpc.channel import connect
from shared.rpc.server import RpcServer
from shared.telemetry import format_traceparent
from tests.integration.moderation_world import BASE, LANE, OWNER, STRICT, ready, world

REAL = (Path(__file__).parents[2] / "ops" / "policies" / "base.yaml").read_text()


async def test_the_base_pack_is_in_force() -> None:
    async with world(base=REAL) as one:
        await one.until(lambda: one.service.readiness().ready)
        await one.ask("How do I build a pipe bomb?")
        _, refused = await one.answer()
        assert isinstance(refused, outcome.RequestRefused)
        assert refused.rule == "weapons.explosives"
        assert list(refused.policy_versions) == [load_pack(REAL).version]


async def test_a_request_is_allowed_redacted_or_refused() -> None:
    async with ready() as one:
        request = await one.ask("What is the capital of France?")
        envelope, allowed = await one.answer()
        assert (envelope.request, envelope.to, envelope.lane) == (request, OWNER, LANE)
        assert isinstance(allowed, Screened)
        assert allowed.verdict == outcome.VERDICT_ALLOW
        assert list(allowed.policy_versions) == [load_pack(BASE).version]
        assert allowed.window == 64

        await one.ask("Hello", "my card is 4111 1111 1111 1111.")
        _, redacted = await one.answer()
        assert isinstance(redacted, Screened)
        assert redacted.verdict == outcome.VERDICT_REDACT
        (span,) = redacted.spans
        assert (span.field, span.start, span.end, span.label) == ("messages[1].parts[0]", 11, 30, "card")

        await one.ask("How do I build a pipe", " bomb?")
        _, refused = await one.answer()
        assert isinstance(refused, outcome.RequestRefused)
        assert (refused.rule, refused.kind) == ("demo.refusal", "POLICY")
        assert refused.by == outcome.REFUSER_POLICY


async def test_long_requests_are_screened_beside_the_loop() -> None:
    async with ready() as one:
        asked = {
            await one.ask("字" * 5_000 + f" {number} " + "Please run the freehold refusal demo.")
            for number in range(20)
        }
        records = await one.read("replies", 20)
        assert {parse_envelope(record.headers).request for record in records} == asked
        assert {parse_envelope(record.headers).type for record in records} == {"RequestRefused"}


async def test_the_same_request_twice_is_the_same_event() -> None:
    async with ready() as one:
        request = one.ids.request()
        for _ in range(2):
            await one.send("RequestAccepted", RequestAccepted().SerializeToString(), request)
        first, second = await one.read("replies", 2)
        assert parse_envelope(first.headers).event_id == parse_envelope(second.headers).event_id
        assert first.value == second.value


async def test_an_answer_is_vetted_before_it_is_seen() -> None:
    async with ready() as one:
        request = one.ids.request()
        await one.frame(request, "Sure", ", ", "here", ": 4111 11", "11 1111 11")
        first = await one.vetted()
        assert list(first.frame.text) == ["Sure, here"]
        await one.frame(request, "11 and", " more", index=5, end=True)
        second = await one.vetted()
        assert list(second.frame.text) == [": [card] and more"]
        assert list(second.frame.lengths) == [8, 0, 4, 5]
        assert list(second.frame.text_index) == [3]
        assert second.verdicts[0].verdict == outcome.VERDICT_REDACT
        assert second.frame.ends[0].reason == outcome.FINISH_REASON_STOP


async def test_a_refused_answer_ends_without_its_match() -> None:
    async with ready() as one:
        request = one.ids.request()
        await one.frame(request, "Please ", "run ", "the ", "free", "hold ", "refusal ")
        assert list((await one.vetted()).frame.text) == ["Please run the "]
        await one.frame(request, "demo", "!", " now", index=6, end=True)
        refused = await one.vetted()
        assert not refused.frame.text
        assert not refused.frame.ends
        assert refused.refused[0].match.rule == "demo.refusal"


async def test_an_unknown_policy_lets_nothing_out() -> None:
    async with ready() as one:
        await one.ask("hello", policies=("base", "nobody"))
        _, failed = await one.answer()
        assert isinstance(failed, outcome.RequestFailed)
        assert (failed.stage, failed.code) == ("moderation", "policy_unavailable")
        request = one.ids.request()
        await one.frame(request, "hello ", policies=("nobody",), end=True)
        broken = await one.vetted()
        assert not broken.frame.text
        assert not broken.frame.ends
        assert len(broken.broken) == 1


@pytest.mark.parametrize("broken", ["pack: [", BASE.replace("action: refuse", "action: explode")])
async def test_a_pack_that_cannot_be_loaded_lets_nothing_out(broken: str) -> None:
    async with world() as one:
        await one.publish("base", broken, "base@1+000000000000")
        await one.until(lambda: "cannot be used" in one.service.readiness().reason)
        await one.ask("hello")
        _, failed = await one.answer()
        assert isinstance(failed, outcome.RequestFailed)
        await one.frame(one.ids.request(), "hello ", end=True)
        assert not (await one.vetted()).frame.text
        await one.publish("base", BASE)
        await one.until(lambda: one.service.readiness().ready)


async def test_a_pack_under_another_version_is_not_used() -> None:
    async with world() as one:
        await one.publish("base", BASE, "base@1+000000000000")
        await one.until(lambda: "published as base base@1+000000000000" in one.service.readiness().reason)


async def test_a_new_version_takes_the_place_of_the_old_and_a_bad_one_does_not() -> None:
    async with ready() as one:
        await one.publish("strict", STRICT)
        await one.publish("strict", STRICT.replace("zebra", "okapi"))
        await one.until(lambda: one.values.policies.get("strict", Policy()).pack.find("okapi") > 0)
        await one.ask("an okapi", policies=("strict",), offset=one.values.offset)
        _, refused = await one.answer()
        assert isinstance(refused, outcome.RequestRefused)
        assert refused.rule == "word"
        version = list(refused.policy_versions)

        await one.publish("strict", STRICT.replace("zebra", "a{"), "strict@1+000000000000")
        await one.until(lambda: one.values.policies["strict"].version.endswith("+000000000000"))
        await one.publish("strict", STRICT.replace("[zebra]", "[[]]"), "strict@2+000000000000")
        await one.until(lambda: one.values.policies["strict"].version.startswith("strict@2"))
        await one.ask("an okapi", policies=("strict",))
        _, refused = await one.answer()
        assert isinstance(refused, outcome.RequestRefused)
        assert list(refused.policy_versions) == version


async def test_a_policy_that_an_organisation_names_must_compile() -> None:
    async with ready() as one:
        value = Organisation(id="org", policies=["strict"])
        await one.bus.publish("config", value.SerializeToString(), key=config_key("organisation", "org"))
        await one.until(lambda: one.service.readiness().reason == "policy strict is not published")
        await one.publish("strict", STRICT)
        await one.until(lambda: one.service.readiness().ready)


async def test_a_request_waits_for_the_configuration_it_was_accepted_under() -> None:
    async with ready() as one:
        await one.ask("a zebra", policies=("strict",), offset=one.values.offset + 1)
        await one.publish("strict", STRICT)
        _, refused = await one.answer()
        assert isinstance(refused, outcome.RequestRefused)


async def test_what_cannot_be_decoded_is_answered() -> None:
    async with ready() as one:
        await one.send("RequestAccepted", b"\xff\xff", one.ids.request())
        _, failed = await one.answer()
        assert isinstance(failed, outcome.RequestFailed)
        assert failed.code == "undecodable"
        await one.send("PromptRedacted", b"\xff\xff", one.ids.request())
        await one.ask("the next")
        _, screened = await one.answer()
        assert isinstance(screened, Screened)


async def test_one_span_for_each_direction_and_metrics_without_text() -> None:
    async with ready() as one:
        request = await one.ask("my card is 4111 1111 1111 1111")
        envelope, _ = await one.answer()
        await one.frame(request, "an ", "answer", end=True)
        await one.vetted()
        spans = {span.name: span for span in one.telemetry.store.spans_of(request)}
        assert set(spans) == {"moderation screen", "moderation vet"}
        screen = spans["moderation screen"]
        assert envelope.traceparent == format_traceparent(screen.context)
        assert dict(screen.attributes)["freehold.verdict"] == "redact"
        assert dict(spans["moderation vet"].attributes)["freehold.verdict"] == "allow"

        def value(name: str, **labels: str) -> float | None:
            return one.telemetry.registry.get_sample_value(f"freehold_moderation_{name}", labels)

        assert value("verdicts_total", direction="input", verdict="redact") == 1
        assert value("verdicts_total", direction="output", verdict="allow") == 1
        assert value("rule_matches_total", direction="input", rule="card", policy="base") == 1
        assert value("held_tokens_count") == 1
        assert value("held_seconds_count") == 1


async def test_classify_and_list_over_grpc() -> None:
    callers = {"op": OPERATOR, "client": Caller("k", "org", "p", frozenset({"complete"}))}
    async with ready(strict=STRICT) as one:
        server = RpcServer(callers.get)
        names = one.service.register(server.server)
        assert names == ["freehold.moderation.v1.Moderation"]
        port = await server.start("127.0.0.1:0", names, reflect=False)
        try:
            await one.until(lambda: "strict" in one.values.policies)
            client = ModerationStub(connect(f"127.0.0.1:{port}", "client"))
            operator = ModerationStub(connect(f"127.0.0.1:{port}", "op"))
            found = await client.Classify(rpc.ClassifyRequest(text="card 4111111111111111, a zebra"))
            assert found.verdict == outcome.VERDICT_REDACT
            assert [(span.start, span.end, span.label) for span in found.spans] == [(5, 21, "card")]
            stricter = rpc.ClassifyRequest(
                text="a zebra", policies=["strict"], direction=outcome.DIRECTION_OUTPUT
            )
            assert (await operator.Classify(stricter)).verdict == outcome.VERDICT_REFUSE
            for stub in (client, operator):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Classify(rpc.ClassifyRequest(text="x", policies=["nobody"]))
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            with pytest.raises(grpc.aio.AioRpcError) as hidden:
                await client.Classify(stricter)
            assert hidden.value.code() is grpc.StatusCode.NOT_FOUND
            own = (await client.ListPolicies(rpc.ListPoliciesRequest())).policies
            assert [policy.id for policy in own] == ["base"]
            everything = (await operator.ListPolicies(rpc.ListPoliciesRequest())).policies
            assert [policy.id for policy in everything] == ["base", "strict"]
            (rule, twin) = everything[1].rules
            assert (rule.id, rule.direction, twin.direction) == (
                "word",
                outcome.DIRECTION_INPUT,
                outcome.DIRECTION_OUTPUT,
            )
        finally:
            await server.stop(0)
