"""What `/openapi.json` says of answers, and of the hot route, which FastAPI does not serve itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.edge.dialects.openai_chat import ChatBody
from services.edge.dialects.openai_neutral import REQUEST
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


class ReceiptAnswer(BaseModel):
    """Everything of a receipt but the answer's text, which only the client has."""

    request_id: str
    status: str
    """`complete`, or `pending` until a checkpoint holds the entry."""
    entry: dict[str, Any] | None = None
    index: int | None = None
    proof: list[str] | None = None
    checkpoint: str | None = None


def add_chat(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe `POST /v1/chat/completions` in an OpenAPI document, which is changed and returned."""
    _, made = models_json_schema([(ChatBody, "validation"), (ErrorAnswer, "validation")], ref_template=_REF)
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    parts.update(made["$defs"])
    for name, values in REQUEST.items():
        parts["ChatBody"]["properties"][name] = {
            "enum": [*values, None],
            "description": "Accepted with a value that asks for nothing.",
        }
    error = {"application/json": {"schema": {"$ref": _REF.format(model="ErrorAnswer")}}}
    schema["paths"][PATH] = {
        "post": {
            "summary": "Answer a conversation, plain or as a stream of events",
            "operationId": "create_chat_completion",
            "security": [{"bearer": []}, {"key": []}],
            "parameters": [
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": 255},
                }
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": _REF.format(model="ChatBody")}}},
            },
            "responses": {
                "200": {
                    "description": "OpenAI's chat.completion with a `freehold` object, or its chunks",
                    "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
                },
                "default": {"description": "An error", "content": error},
            },
        }
    }
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return schema
