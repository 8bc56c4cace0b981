"""The unmodified `openai` client against the edge."""

from __future__ import annotations

import openai
import pytest
from openai import AsyncOpenAI

from services.edge.answer import Answer, Submission
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError, Kind
from shared.statuses import HTTP
from tests.integration.edge_front import DONE, KEY, MODEL, Edge, ended, running_edge, say

MESSAGES = [{"role": "user", "content": "Hello"}]


def client(edge: Edge, key: str = KEY, retries: int = 0) -> AsyncOpenAI:
    """A client as its users make it."""
    return AsyncOpenAI(api_key=key, base_url=edge.url, max_retries=retries)


async def test_plain() -> None:
    async with running_edge() as edge, client(edge) as ai:
        answer = await ai.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,  # type: ignore[arg-type]
            temperature=0,
            max_completion_tokens=5,
            seed=1,
            n=1,
            stop=["x"],
            extra_body={"top_k": 5, "min_p": 0.1},
        )
        assert answer.choices[0].message.content == "Hello world"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == DONE.prompt + DONE.delivered
        assert answer._request_id == edge.owner.answers[0].request
        assert answer.freehold["price"]["amount"] == "1.234567890"  # type: ignore[attr-defined]
        # What a client sends back is what it got.
        again = [*MESSAGES, answer.choices[0].message, *MESSAGES]
        await ai.chat.completions.create(model=MODEL, messages=again)  # type: ignore[arg-type]
        assert len(edge.owner.submissions[1].request.messages) == 3


@pytest.mark.parametrize("include_usage", [False, True])
async def test_streamed(include_usage: bool) -> None:
    async with running_edge() as edge, client(edge) as ai:
        stream = await ai.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": include_usage},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "Hello world"
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [include_usage]
        assert chunks[-1].freehold["verdict"] == "allow"  # type: ignore[attr-defined]


async def test_the_streaming_helper_gives_a_whole_answer() -> None:
    async with running_edge() as edge, client(edge) as ai:
        async with ai.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream:  # type: ignore[arg-type]
            answer = await stream.get_final_completion()
        assert answer.choices[0].message.content == "Hello world"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Kind.BAD_REQUEST, openai.BadRequestError),
        (Kind.POLICY, openai.BadRequestError),
        (Kind.CONTEXT_TOO_LONG, openai.BadRequestError),
        (Kind.FORBIDDEN, openai.PermissionDeniedError),
        (Kind.BUDGET, openai.RateLimitError),
        (Kind.OVERLOADED, openai.RateLimitError),
        (Kind.REPEATED, openai.ConflictError),
        (Kind.REPEATED_OTHERWISE, openai.UnprocessableEntityError),
        (Kind.FAILED, openai.InternalServerError),
        (Kind.EXPIRED, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_the_clients_own_classes(
    kind: Kind, error: type[openai.APIStatusError], stream: bool
) -> None:
    async with running_edge() as edge, client(edge) as ai:
        edge.owner.play = say(end=ended(FreeholdError(kind, "why")))
        with pytest.raises(error) as caught:
            await ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)  # type: ignore[call-overload]
        assert caught.value.code == kind.value
        assert caught.value.status_code == HTTP[kind].status
        assert caught.value.request_id == edge.owner.answers[0].request


async def test_keys_models_and_parameters() -> None:
    async with running_edge() as edge:
        async with client(edge, "wrong") as ai:
            with pytest.raises(openai.AuthenticationError):
                await ai.models.list()
        async with client(edge) as ai:
            assert [model.id async for model in ai.models.list()] == [MODEL]
            assert (await ai.models.retrieve(MODEL)).owned_by == "freehold"
            with pytest.raises(openai.NotFoundError):
                await ai.chat.completions.create(model="no", messages=MESSAGES)  # type: ignore[arg-type]
            with pytest.raises(openai.BadRequestError) as caught:
                await ai.chat.completions.create(model=MODEL, messages=MESSAGES, n=2)  # type: ignore[arg-type]
            assert (caught.value.param, caught.value.code) == ("n", "unsupported_parameter")


@pytest.mark.parametrize(("kind", "attempts"), [(Kind.OVERLOADED, 2), (Kind.BUDGET, 1), (Kind.EXPIRED, 1)])
async def test_the_client_retries_exactly_what_a_retry_can_mend(kind: Kind, attempts: int) -> None:
    tried = 0

    def play(answer: Answer, submission: Submission) -> None:
        nonlocal tried
        tried += 1
        say("ok")(answer, submission) if tried > 1 else answer.finish(ended(FreeholdError(kind, "why")))

    async with running_edge() as edge, client(edge, retries=2) as ai:
        edge.owner.play = play
        try:
            await ai.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        except openai.APIStatusError:
            assert attempts == 1
        assert tried == attempts


async def test_an_error_in_mid_stream_is_raised_after_the_text() -> None:
    async with running_edge() as edge, client(edge) as ai:
        error = FreeholdError(Kind.POLICY, "refused by rule weapons.1", rule="weapons.1")
        edge.owner.play = say("Hel", end=ended(error, outcome.TERMINAL_STATE_REFUSED))
        stream = await ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        chunks = [await anext(stream), await anext(stream)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hel"
        with pytest.raises(openai.APIError, match=r"weapons\.1"):
            await anext(stream)


async def test_closing_a_stream_tells_the_owner() -> None:
    async with running_edge() as edge, client(edge) as ai:
        edge.owner.play = say("Hel", end=None)
        stream = await ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        await anext(stream)
        await stream.close()
        await edge.owner.gone.wait()
        assert edge.owner.left == ["client_gone"]
