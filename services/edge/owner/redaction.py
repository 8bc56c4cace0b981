"""Replaces what moderation marked in a request. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest
from shared.contracts.freehold.moderation.v1.events_pb2 import RedactedSpan

_STEP = re.compile(r"([a-z_]+)(?:\[(\d{1,6})\])?")


class SpanError(ValueError):
    """A span that does not lie in the request."""


def redact(request: CompletionRequest, spans: Iterable[RedactedSpan]) -> CompletionRequest:
    """A copy with each span replaced by `[label]`, cut to the bytes that it replaces.

    So no text grows, and the bound on the prompt's tokens holds. Spans of one field stand together, by
    start, and do not overlap. Raises `SpanError`.
    """
    copy = CompletionRequest()
    copy.CopyFrom(request)
    for field, found in groupby(spans, key=lambda span: span.field):
        _replace_in(copy, field, list(found))
    return copy


def _replace_in(request: CompletionRequest, path: str, spans: list[RedactedSpan]) -> None:
    *steps, last = path.split(".")
    holder: Any = request
    for step in steps:
        name, index = _parse(path, step)
        holder = _item(path, _attribute(path, holder, name), index)
    name, index = _parse(path, last)
    value = _attribute(path, holder, name)
    text = _item(path, value, index)
    if not isinstance(text, str):
        raise SpanError(f"{path} is not a text")
    if index is None:
        setattr(holder, name, _replaced(text, spans))
    else:
        value[index] = _replaced(text, spans)


def _replaced(text: str, spans: list[RedactedSpan]) -> str:
    parts: list[str] = []
    done = 0
    for span in spans:
        if not done <= span.start < span.end <= len(text):
            raise SpanError(f"{span.field}: {span.start} to {span.end} is no span of its text")
        room = len(text[span.start : span.end].encode())
        label = f"[{span.label}]".encode()[:room].decode(errors="ignore")
        parts += (text[done : span.start], label)
        done = span.end
    return "".join((*parts, text[done:]))


def _parse(path: str, step: str) -> tuple[str, int | None]:
    found = _STEP.fullmatch(step)
    if found is None:
        raise SpanError(f"{path} is not a path")
    return found[1], None if found[2] is None else int(found[2])


def _attribute(path: str, holder: Any, name: str) -> Any:
    descriptor = getattr(holder, "DESCRIPTOR", None)
    if descriptor is None or name not in descriptor.fields_by_name:
        raise SpanError(f"{path} is not in the request")
    return getattr(holder, name)


def _item(path: str, value: Any, index: int | None) -> Any:
    if index is None:
        return value
    if isinstance(value, str) or not hasattr(value, "__getitem__") or index >= len(value):
        raise SpanError(f"{path} is not in the request")
    return value[index]
