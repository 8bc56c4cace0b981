"""OpenAI parameters that Freehold knows and does not serve: a neutral value asks for nothing and passes,
any other is refused by name, never ignored. Pure.
"""

from __future__ import annotations

from typing import Any

from services.edge.http.body import shown
from shared.errors import FreeholdError, Kind

REQUEST: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "safety_identifier": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Neutral values by parameter; null is neutral for all of them."""

MESSAGE: dict[str, tuple[Any, ...]] = {
    "annotations": ([],),
    "audio": (),
    "function_call": (),
    "name": (),
    "reasoning_content": (),
    "refusal": (),
    "tool_call_id": (),
    "tool_calls": ([],),
}
"""The same for the fields of a message, as clients send an answer's message back."""


def drop_neutral(
    fields: dict[str, Any], served: frozenset[str], known: dict[str, tuple[Any, ...]], at: str
) -> None:
    """Take what is neutral out of `fields`, so that only names in `served` are left.

    `at` is the path of the object, with a dot at its end, or empty. Raises `FreeholdError` naming a
    parameter that is known and not neutral (UNSUPPORTED), or not known at all (BAD_REQUEST).
    """
    for name in [name for name in fields if name not in served]:
        if name not in known:
            raise FreeholdError(
                Kind.BAD_REQUEST,
                f"unknown parameter: {at}{shown(name)}",
                param=at + shown(name),
                code="unknown_parameter",
            )
        value = fields.pop(name)
        if value is not None and not any(same(value, neutral) for neutral in known[name]):
            raise FreeholdError(
                Kind.UNSUPPORTED, f"{at}{name} is not supported{_but(known[name])}", param=at + name
            )


def same(value: object, neutral: object) -> bool:
    """Equal as JSON: unlike in Python, `true` is not 1 and `false` is not 0."""
    return isinstance(value, bool) == isinstance(neutral, bool) and value == neutral


def _but(neutral: tuple[Any, ...]) -> str:
    if not neutral:
        return ""
    return f" with a value other than {' or '.join(map(repr, neutral))}"
