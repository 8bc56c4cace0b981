"""Requests in, ids or a refusal out: on the owner's lane, once answered for good."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError

from services.tokenizer.encoding import Job, Refusal, encode_jobs
from services.tokenizer.handlers import Handler
from services.tokenizer.model import ServedModel
from services.tokenizer.models import Models
from services.tokenizer.observing import Observer
from shared.bus.envelope import Envelope, EnvelopeError, UnknownType, parse_envelope
from shared.bus.handling import Batch, Later
from shared.bus.local import LocalBus
from shared.bus.ports import Reader, Record, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform
from shared.contracts.freehold.tokenizer.v1 import events_pb2 as tokenizer
from shared.errors import FreeholdError, Kind
from shared.host import system_host
from shared.telemetry import Telemetry, TelemetrySettings, format_traceparent, parse_traceparent

LANE = 3
REQUEST = "01900000-0000-7000-8000-000000000001"
NAME = "smollm2-135m-instruct"


class Bench:
    """A handler between a real bus and a real executor."""

    def __init__(self, handler: Handler, replies: Reader, telemetry: Telemetry) -> None:
        self.handler = handler
        self.telemetry = telemetry
        self.replies = replies

    async def handle(self, records: list[Record]) -> None:
        await self.handler(Batch("requests", 0, records))

    async def answers(self) -> list[tuple[Envelope, bytes]]:
        found = await self.replies.poll(1000, 0.0)
        return [
            (parse_envelope(record.headers), record.value) for records in found.values() for record in records
        ]


def configured(model: ServedModel) -> Configuration:
    configuration = Configuration(offset=9)
    configuration.models[NAME] = config_pb2.Model(
        name=NAME, tokenizer_digest=model.tokenizer_digest, template_digest=model.template_digest
    )
    return configuration


@pytest.fixture(params=[0, 1 << 20], ids=["on the thread", "on the loop"])
async def bench(model: ServedModel, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    host = system_host()
    bus = LocalBus(host, load_topics("embedded"), None)
    await bus.start()
    replies = await bus.assign([TopicPartition("replies", LANE)], Start.END)
    configuration = configured(model)
    models = Models(configuration)
    models.put([model])
    telemetry = Telemetry(host, TelemetrySettings())
    executor = host.executor("tokenizer")
    observer = Observer(telemetry, host.clock)
    handler = Handler(
        configuration, models.find, executor, bus, 77, observer, batch=3, inline_cost=request.param
    )
    yield Bench(handler, replies, telemetry)
    await replies.close()
    await bus.close()
    executor.close()


def asked(
    value: bytes,
    kind: str = "RequestAccepted",
    request: str = REQUEST,
    revision: int = 0,
    traceparent: bytes = b"",
    config_offset: int = 9,
) -> Record:
    envelope = Envelope(
        type=kind,
        event_id="e",
        sender=5,
        request=request,
        tenant="t",
        owner=5,
        lane=LANE,
        revision=revision,
        config_offset=config_offset,
        traceparent=traceparent,
    )
    return Record("requests", 0, 0, 0, None, value, envelope.headers())


def accepted(text: str = "Hello", max_output: int = 0, model: str = NAME) -> edge.RequestAccepted:
    messages = [pb.Message(role=pb.ROLE_USER, parts=[text])]
    request = pb.CompletionRequest(model=model, messages=messages, max_output=max_output, choices=1)
    return edge.RequestAccepted(request=request, project="p", key="k")


async def test_an_accepted_request_is_answered_with_its_ids(bench: Bench, model: ServedModel) -> None:
    event = accepted()
    await bench.handle([asked(event.SerializeToString())])
    [(envelope, value)] = await bench.answers()
    answer = tokenizer.Encoded.FromString(value)
    assert envelope.type == "Encoded"
    assert (envelope.request, envelope.tenant, envelope.owner, envelope.lane) == (REQUEST, "t", 5, LANE)
    assert (envelope.to, envelope.sender, envelope.config_offset) == (5, 77, 9)
    assert list(answer.ids) == model.encode([model.prompt(event.request)])[0]
    assert answer.count == len(answer.ids)
    assert (answer.tokenizer_digest, answer.template_digest) == (
        model.tokenizer_digest,
        model.template_digest,
    )
    assert answer.revision == 0


async def test_a_repetition_is_the_same_event(bench: Bench) -> None:
    record = asked(accepted().SerializeToString())
    await bench.handle([record])
    await bench.handle([record])
    first, second = await bench.answers()
    assert first == second


async def test_a_redacted_prompt_is_encoded_under_its_revision(bench: Bench, model: ServedModel) -> None:
    event = edge.PromptRedacted(revision=2, accepted=accepted("my number is [phone]"))
    plain = asked(accepted("my number is 0812345678").SerializeToString())
    await bench.handle([asked(event.SerializeToString(), "PromptRedacted"), plain])
    (first, encoded), (second, _) = await bench.answers()
    answer = tokenizer.Encoded.FromString(encoded)
    assert (answer.revision, first.revision) == (2, 2)
    assert "[phone]" in model.vocabulary.decode(list(answer.ids))
    assert first.event_id != second.event_id


async def test_a_batch_is_answered_whole_and_each_for_itself(bench: Bench, model: ServedModel) -> None:
    texts = [f"message {number} " * number for number in range(1, 20)]
    records = [
        asked(accepted(text).SerializeToString(), request=f"{REQUEST[:-2]}{number:02d}")
        for number, text in enumerate(texts)
    ]
    await bench.handle(records)
    answers = {
        envelope.request: tokenizer.Encoded.FromString(value) for envelope, value in await bench.answers()
    }
    assert len(answers) == len(texts)
    for number, text in enumerate(texts):
        decoded = model.vocabulary.decode(list(answers[f"{REQUEST[:-2]}{number:02d}"].ids))
        assert f"user\n{text}<|im_end|>" in decoded


@pytest.mark.parametrize(
    ("words", "max_output", "code"),
    [
        (4070, 0, "context_length_exceeded"),
        (10, 4090, "context_length_exceeded"),
        (100_000, 0, "context_length_exceeded"),
        (10, 2**32 - 1, "context_length_exceeded"),
    ],
)
async def test_what_does_not_fit_the_context_is_refused(
    bench: Bench, words: int, max_output: int, code: str
) -> None:
    event = accepted(" a" * words, max_output)
    await bench.handle([asked(event.SerializeToString())])
    [(envelope, value)] = await bench.answers()
    answer = platform.RequestRefused.FromString(value)
    assert envelope.type == "RequestRefused"
    assert (answer.by, answer.kind, answer.code) == (platform.REFUSER_TOKENIZER, "CONTEXT_TOO_LONG", code)
    assert answer.param == "messages"
    assert "4096 tokens" in answer.message


async def test_room_for_one_token_is_enough_where_no_number_is_asked(
    bench: Bench, model: ServedModel
) -> None:
    frame = len(model.encode([model.prompt(accepted("x").request)])[0]) - 1
    fits = model.context - frame - 1
    for words, kind in ((fits, "Encoded"), (fits + 1, "RequestRefused")):
        await bench.handle([asked(accepted("x" + " a" * (words - 1)).SerializeToString())])
        [(envelope, _)] = await bench.answers()
        assert envelope.type == kind


async def test_what_the_model_does_not_take_is_refused(bench: Bench) -> None:
    tools = accepted()
    tools.request.tools.add(name="f")
    role = accepted()
    role.request.messages[0].role = pb.ROLE_TOOL
    empty = edge.RequestAccepted(request=pb.CompletionRequest(model=NAME))
    await bench.handle([asked(event.SerializeToString()) for event in (tools, role, empty)])
    answers = [platform.RequestRefused.FromString(value) for _, value in await bench.answers()]
    assert [answer.kind for answer in answers] == ["BAD_REQUEST"] * 3
    assert answers[2].param == "prompt"


async def test_a_raw_prompt_is_encoded_as_it_is(bench: Bench, model: ServedModel) -> None:
    event = edge.RequestAccepted(request=pb.CompletionRequest(model=NAME, prompt="<|im_start|>Once upon"))
    await bench.handle([asked(event.SerializeToString())])
    [(_, value)] = await bench.answers()
    ids = list(tokenizer.Encoded.FromString(value).ids)
    assert ids == model.vocabulary.encode(["<|im_start|>Once upon"])[0]
    assert 1 not in ids


async def failure(bench: Bench, record: Record) -> tuple[type[Exception], platform.RequestFailed]:
    """The error of a record that cannot be handled, and what its owner is told once it is a dead letter."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is the test's question
        await bench.handle([record])
    assert await bench.answers() == []
    await bench.handler.answer_poison(record, caught.value)
    [(envelope, value)] = await bench.answers()
    assert (envelope.type, envelope.request, envelope.to) == ("RequestFailed", REQUEST, 5)
    return caught.type, platform.RequestFailed.FromString(value)


async def test_a_request_that_cannot_be_decoded_is_answered_as_failed(bench: Bench) -> None:
    error, answer = await failure(bench, asked(b"\xff\xff\xff"))
    assert error is DecodeError
    assert (answer.stage, answer.code) == ("tokenizer", "undecodable")


@pytest.mark.parametrize("name", ["unknown", ""])
async def test_a_model_that_is_not_served_is_a_failure(bench: Bench, name: str) -> None:
    error, answer = await failure(bench, asked(accepted(model=name).SerializeToString()))
    assert error is FreeholdError
    assert answer.code == "model_not_found"


async def test_a_request_ahead_of_the_configuration_waits(bench: Bench) -> None:
    error, answer = await failure(bench, asked(accepted().SerializeToString(), config_offset=10))
    assert error is Later
    assert answer.code == "configuration_behind"


async def test_a_type_that_nobody_knows_is_an_error(bench: Bench) -> None:
    with pytest.raises(UnknownType, match="SomethingNew"):
        await bench.handle([asked(b"\xff", "SomethingNew")])
    assert await bench.answers() == []


async def test_headers_that_cannot_be_routed_are_an_error(bench: Bench) -> None:
    with pytest.raises(EnvelopeError):
        await bench.handle([Record("requests", 0, 0, 0, None, b"", ())])


async def test_the_span_of_an_encode_is_in_the_requests_trace(bench: Bench) -> None:
    parent = bench.telemetry.recorder("edge").root()
    record = asked(accepted().SerializeToString(), traceparent=format_traceparent(parent))
    await bench.handle([record])
    [row] = bench.telemetry.store.spans_of(REQUEST)
    assert (row.service, row.context.trace_id, row.parent) == ("tokenizer", parent.trace_id, parent.span_id)
    [(envelope, _)] = await bench.answers()
    assert parse_traceparent(envelope.traceparent) == row.context
    assert ("gen_ai.request.model", NAME) in row.attributes


async def test_metrics_count_tokens_and_refusals(bench: Bench) -> None:
    records = [accepted(), accepted(max_output=100_000)]
    await bench.handle([asked(event.SerializeToString()) for event in records])
    value = bench.telemetry.registry.get_sample_value
    assert value("freehold_tokenizer_prompt_tokens_count") == 1
    assert value("freehold_tokenizer_refused_total", {"kind": "CONTEXT_TOO_LONG"}) == 1


def test_a_name_whose_configured_vocabulary_differs_is_not_served(model: ServedModel) -> None:
    configuration = configured(model)
    models = Models(configuration)
    assert not models.readiness().ready
    models.put([model])
    assert models.readiness().ready
    assert models.find(NAME) is model
    configuration.models[NAME].tokenizer_digest = "0" * 64
    assert not models.readiness().ready
    with pytest.raises(Exception, match="matching vocabulary"):
        models.find(NAME)
    configuration.models[NAME].disabled = True
    assert models.readiness().ready
    configuration.models["other"] = config_pb2.Model(name="other")
    assert "other" in models.readiness().reason


def test_jobs_of_several_models_come_back_in_order(model: ServedModel) -> None:
    small = replace(model, name="small", context=60)
    requests = [accepted("x " * n).request for n in (1, 30, 2, 40)]
    outcomes = encode_jobs([Job(m, r) for m, r in zip((model, small, small, model), requests, strict=True)])
    kinds = [outcome.kind if isinstance(outcome, Refusal) else None for outcome in outcomes]
    assert kinds == [None, Kind.CONTEXT_TOO_LONG, None, None]
    for outcome, request in zip(outcomes, requests, strict=True):
        assert isinstance(outcome, Refusal) or outcome == model.encode([model.prompt(request)])[0]
