"""What `/openapi.json` says of answers, and of the hot route, which FastAPI does not serve itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.edge.dialects.openai_chat import ChatBody
from services.edge.dialects.openai_neutral import MESSAGE, REQUEST
from services.edge.http.chat import PATH

_REF = "#/components/schemas/{model}"


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """Path of the field at fault."""
    code: str
    request_id: str
    rule: str | None = None
    """Rule of a policy that refused."""
    policy_version: str | None = None
    first_request: str | None = None
    """Where an idempotency key repeats: the request that had it first."""


class ErrorAnswer(BaseModel):
    """OpenAI's shape of an error."""

    error: ErrorDetail


class PriceAnswer(BaseModel):
    """Integers of 10^-9 of a currency unit per 1,000 tokens."""

    prompt: int
    cached: int
    output: int
    currency: str
    version: str


class ModelEvidence(BaseModel):
    """What stands behind a model's name."""

    context: int
    """Tokens of prompt and answer together."""
    cells: int
    """Cells of the key-value pools of all live workers, one a token."""
    live: bool
    weights_digest: str
    tokenizer_digest: str
    template_digest: str
    licence: str
    price: PriceAnswer | None


class ModelAnswer(BaseModel):
    """One model."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    freehold: ModelEvidence


class ModelList(BaseModel):
    """All models that the key may use."""

    object: str = "list"
    data: list[ModelAnswer]


class UsageAnswer(BaseModel):
    """One day and model of the key's project; counts in tokens, money in 10^-9 of a currency unit."""

    day: str
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    delivered_tokens: int
    billed_tokens: int
    total_nanos: int
    total: str
    currency: str


class UsageList(BaseModel):
    """Usage by day, then model."""

    object: str = "list"
    project: str
    data: list[UsageAnswer]


class Message(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(BaseModel):
    """One answer."""

    index: int
    message: Message
    logprobs: None
    finish_reason: Literal["stop", "length", "tool_calls"]


class CachedTokens(BaseModel):
    """Of the prompt."""

    cached_tokens: int


class Tokens(BaseModel):
    """OpenAI's count."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class ChatAnswer(BaseModel):
    """OpenAI's chat.completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    service_tier: Literal["default"]
    system_fingerprint: str
    choices: list[Choice]
    usage: Tokens
    freehold: dict[str, Any]
    """What the answer was produced under, counted and priced."""


class State(BaseModel):
    """Of the process."""

    status: str
    reason: str = ""


class ReceiptAnswer(BaseModel):
    """Everything of a receipt but the answer's text, which only the client has."""

    request_id: str
    status: str
    """`complete`, or `pending` until a checkpoint holds the entry."""
    entry: dict[str, Any] | None = None
    index: int | None = None
    proof: list[str] | None = None
    checkpoint: str | None = None


_CLEAN = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
OPEN: dict[str, Any] = {"security": []}
"""Of a route that needs no key."""
KEYS: dict[str, Any] = {"security": [{"bearer": []}, {"key": []}]}


def add_chat(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe `POST /v1/chat/completions` in an OpenAPI document, which is changed and returned."""
    models = [(ChatBody, "validation"), (ChatAnswer, "validation"), (ErrorAnswer, "validation")]
    _, made = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    parts.update(made["$defs"])
    for part in ("ChatBody", "ChatMessage", "TextPart"):
        _only_clean(parts[part])
    for part, neutral in (("ChatBody", REQUEST), ("ChatMessage", MESSAGE)):
        for name, values in neutral.items():
            parts[part]["properties"][name] = {
                "enum": [*values, None],
                "description": "Accepted with a value that asks for nothing.",
            }
    schema["paths"][PATH] = {"post": _chat()}
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return schema


def _only_clean(schema: Any) -> None:
    """Say of every text what the schema's validator asks of it: no control characters but tab, LF and CR."""
    if isinstance(schema, list):
        for item in schema:
            _only_clean(item)
    if not isinstance(schema, dict):
        return
    if (schema.get("type") == "string" or "maxLength" in schema) and not schema.keys() & {"enum", "const"}:
        schema["pattern"] = _CLEAN
    for item in list(schema.values()):
        _only_clean(item)


def _chat() -> dict[str, Any]:
    def content(model: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": _REF.format(model=model)}}}

    return {
        "summary": "Answer a conversation, plain or as a stream of events",
        "description": "`stream_options` is only for `stream: true`; `max_tokens` and "
        "`max_completion_tokens` must not differ.",
        "operationId": "create_chat_completion",
        **KEYS,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }
        ],
        "requestBody": {"required": True, "content": content("ChatBody")},
        "responses": {
            "200": {
                "description": "The answer, or its chunks as server-sent events",
                "content": {**content("ChatAnswer"), "text/event-stream": {}},
            },
            "default": {"description": "An error", "content": content("ErrorAnswer")},
        },
    }
