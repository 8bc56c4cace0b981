"""OpenAI's chat completions: from the wire to one `CompletionRequest`. Pure.

The schema is strict: no conversion between types, no unknown name, a bound on every field.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from services.edge.dialects import openai_neutral as neutral
from services.edge.http.body import shown
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.errors import FreeholdError, Kind

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_SEED_MASK = (1 << 64) - 1


def _clean(text: str) -> str:
    if _UNFIT.search(text) is not None:
        raise PydanticCustomError("unfit_text", "text must not hold control characters or lone surrogates")
    return text


def _form(value: object) -> str | None:
    return "#text" if isinstance(value, str) else "#list" if isinstance(value, list) else None


Text = Annotated[str, AfterValidator(_clean)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_clean)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Stop = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_clean)]
_either = Discriminator(
    _form, custom_error_type="text_or_list", custom_error_message="value should be a string or a list"
)


class Strict(BaseModel):
    """What all parts of the schema have in common."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TextPart(Strict):
    """The one kind of content part that is served."""

    type: Literal["text"]
    text: Text


class ChatMessage(Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[Text, Tag("#text")]
        | Annotated[list[TextPart], Field(min_length=1, max_length=256, fail_fast=True), Tag("#list")],
        _either,
    ]


class StreamOptions(Strict):
    """Only with `stream: true`."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ChatBody(Strict):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_clean)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2048, fail_fast=True)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[Finite, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Finite, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1000)] | None = None
    min_p: Annotated[Finite, Field(ge=0, le=1)] | None = None
    stop: (
        Annotated[
            Annotated[Stop, Tag("#text")]
            | Annotated[list[Stop], Field(max_length=4, fail_fast=True), Tag("#list")],
            _either,
        ]
        | None
    ) = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=256), AfterValidator(_clean)] | None = None
    metadata: (
        Annotated[
            dict[Name, Annotated[str, Field(max_length=512), AfterValidator(_clean)]], Field(max_length=16)
        ]
        | None
    ) = None


class Chat(NamedTuple):
    """A request, and how its answer is wanted."""

    request: pb.CompletionRequest
    streamed: bool
    include_usage: bool


_SERVED = frozenset(ChatBody.model_fields)
_SERVED_IN_MESSAGE = frozenset(ChatMessage.model_fields)
_ROLES = {
    "system": pb.ROLE_SYSTEM,
    "developer": pb.ROLE_DEVELOPER,
    "user": pb.ROLE_USER,
    "assistant": pb.ROLE_ASSISTANT,
}


def parse_chat(value: object) -> Chat:
    """Translate the JSON value of a body, which is changed. Raises `FreeholdError` naming the parameter."""
    if not isinstance(value, dict):
        raise FreeholdError(Kind.BAD_REQUEST, "the body must be a JSON object")
    if value.keys() - _SERVED:
        neutral.drop_neutral(value, _SERVED, neutral.REQUEST, "")
    messages = value.get("messages")
    if isinstance(messages, list):
        _check_messages(messages)
    try:
        body = ChatBody.model_validate(value)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_input=False)[0]) from None
    if body.stream_options is not None and not body.stream:
        raise FreeholdError(
            Kind.BAD_REQUEST, "stream_options is only for stream: true", param="stream_options"
        )
    return Chat(
        _request(body), bool(body.stream), bool(body.stream_options and body.stream_options.include_usage)
    )


def _check_messages(messages: list[Any]) -> None:
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        if message.keys() - _SERVED_IN_MESSAGE:
            neutral.drop_neutral(message, _SERVED_IN_MESSAGE, neutral.MESSAGE, f"messages[{number}].")
        content = message.get("content")
        if isinstance(content, list):
            _check_parts(content, f"messages[{number}].content")


def _check_parts(parts: list[Any], at: str) -> None:
    for number, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise FreeholdError(
                Kind.UNSUPPORTED,
                f"content parts of type {shown(kind)} are not supported",
                param=f"{at}[{number}].type",
            )


def _refusal(error: ErrorDetails) -> FreeholdError:
    param = ""
    for step in error["loc"]:
        if isinstance(step, int):
            param += f"[{step}]"
        elif not step.startswith("#"):
            param += f".{shown(step)}" if param else shown(step)
    return FreeholdError(Kind.BAD_REQUEST, f"{param}: {error['msg']}", param=param)


def _request(body: ChatBody) -> pb.CompletionRequest:
    most = body.max_completion_tokens or body.max_tokens
    if body.max_tokens is not None and body.max_tokens != most:
        raise FreeholdError(
            Kind.BAD_REQUEST, "max_tokens and max_completion_tokens say different things", param="max_tokens"
        )
    request = pb.CompletionRequest(
        model=body.model,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop,
        max_output=most or 0,
        choices=1,
        user=body.user or "",
        metadata=body.metadata,
    )
    for message in body.messages:
        content = message.content
        parts = [content] if isinstance(content, str) else [part.text for part in content]
        request.messages.add(role=_ROLES[message.role], parts=parts)
    sampling = request.sampling
    for name in ("temperature", "top_p", "top_k", "min_p"):
        if (value := getattr(body, name)) is not None:
            setattr(sampling, name, value)
    if body.seed is not None:
        sampling.seed = body.seed & _SEED_MASK
    return request
