"""What clients may ask of a vocabulary directly. All of it runs on the executor's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.tokenizer.errors import PromptRefused
from services.tokenizer.model import ServedModel
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.executor import Executor

MAX_BYTES = 1 << 20
"""Most text of one call: the edge's own body limit."""


class Rendered(NamedTuple):
    """A request as the model sees it."""

    text: str
    ids: list[int]


class Desk:
    """Answers by model name; every refusal is a `FreeholdError`."""

    def __init__(self, find: Callable[[str], ServedModel], executor: Executor) -> None:
        self._find = find
        self._executor = executor

    async def encode(self, name: str, text: str) -> tuple[ServedModel, list[int]]:
        """Ids of plain text; control tokens in it are plain text too."""
        model = self._find(name)
        _check_size(text)
        (ids,) = await self._executor.run(model.vocabulary.encode, [text])
        return model, ids

    async def decode(self, name: str, ids: Sequence[int]) -> str:
        """Text of ids; cut code points give U+FFFD."""
        model = self._find(name)
        try:
            return await self._executor.run(model.vocabulary.decode, list(ids))
        except ValueError as error:
            raise FreeholdError(Kind.BAD_REQUEST, str(error), param="ids") from error

    async def render(self, request: pb.CompletionRequest) -> tuple[ServedModel, Rendered]:
        """A request through its model's template. The context's length is not checked."""
        model = self._find(request.model)
        _check_size(request.prompt, *(part for message in request.messages for part in message.parts))
        try:
            return model, await self._executor.run(_render, model, request)
        except PromptRefused as error:
            raise FreeholdError(Kind.BAD_REQUEST, str(error), param="messages") from error


def _render(model: ServedModel, request: pb.CompletionRequest) -> Rendered:
    prompt = model.prompt(request)
    (ids,) = model.encode([prompt])
    return Rendered(model.template.text(prompt), ids)


def _check_size(*texts: str) -> None:
    if sum(map(len, texts)) > MAX_BYTES:
        raise FreeholdError(Kind.TOO_LARGE, f"the text is longer than {MAX_BYTES} characters")
