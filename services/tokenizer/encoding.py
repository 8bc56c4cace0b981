"""A batch of requests to prompt ids: pure work for the executor's thread, no bus and no loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.tokenizer.errors import PromptRefused
from services.tokenizer.model import ServedModel
from services.tokenizer.template import Prompt
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.errors import Kind

LONG = 16
"""Bytes a token of context. Text above that is first measured by its beginning: a megabyte would keep
the thread from others for a second, only to be refused."""
SLACK = 64
"""Tokens by which a text cut in the middle can count more than the same text as part of the whole."""


class Job(NamedTuple):
    """One request and the model that it is for."""

    model: ServedModel
    request: pb.CompletionRequest


class Refusal(NamedTuple):
    """Why a request has no ids; the message is for the client and holds no text of the request."""

    kind: Kind
    message: str


Outcome = list[int] | Refusal


def encode_jobs(jobs: Sequence[Job]) -> list[Outcome]:
    """The prompt ids of each request, or why it has none. One call of each model's vocabulary."""
    outcomes: list[Outcome | None] = [None] * len(jobs)
    prompts: dict[int, Prompt] = {}
    for number, (model, request) in enumerate(jobs):
        try:
            prompt = model.prompt(request)
        except PromptRefused as error:
            outcomes[number] = Refusal(Kind.BAD_REQUEST, str(error))
            continue
        outcomes[number] = _refuse_by_size(model, prompt)
        if outcomes[number] is None:
            prompts[number] = prompt
    for model in {id(job.model): job.model for job in jobs}.values():
        numbers = [number for number in prompts if jobs[number].model is model]
        for number, ids in zip(numbers, model.encode([prompts[n] for n in numbers]), strict=True):
            outcomes[number] = check_context(model, len(ids), jobs[number].request.max_output) or ids
    return [outcome for outcome in outcomes if outcome is not None]


def check_context(model: ServedModel, count: int, max_output: int) -> Refusal | None:
    """Refuse a prompt that leaves no room for what it asks: one token, where it asks for no number."""
    if count == 0:
        return Refusal(Kind.BAD_REQUEST, "the prompt is empty")
    if count + max(1, max_output) <= model.context:
        return None
    wanted = f" and {max_output} tokens of output were asked for" if max_output else ""
    return Refusal(
        Kind.CONTEXT_TOO_LONG,
        f"This model's maximum context length is {model.context} tokens, "
        f"but the prompt has {count} tokens{wanted}.",
    )


def _refuse_by_size(model: ServedModel, prompt: Prompt) -> Refusal | None:
    room = LONG * model.context
    for part in prompt:
        if isinstance(part, str) and len(part) > room:
            # Cut before a space, where every vocabulary begins a new token if it can.
            cut = part.rfind(" ", room // 2, room)
            count = len(model.vocabulary.encode([part[: cut if cut > 0 else room]])[0])
            if count > model.context + SLACK:
                return Refusal(
                    Kind.CONTEXT_TOO_LONG,
                    f"This model's maximum context length is {model.context} tokens, "
                    f"but the prompt has more than {count - SLACK} tokens.",
                )
    return None
