"""Errors on the wire: OpenAI's shape, the table's status, and whether a retry can mend it. Pure."""

from __future__ import annotations

import http
import math
from typing import Any

import orjson

from shared.errors import FreeholdError
from shared.statuses import HTTP

Headers = list[tuple[bytes, bytes]]

_REASONS = {status.value: status.phrase.encode() for status in http.HTTPStatus} | {
    499: b"Client Closed Request"
}


def error_value(error: FreeholdError, request: str, evidence: dict[str, Any] | None = None) -> dict[str, Any]:
    """`{"error": {message, type, param, code, request_id, …}}`; rule, policy version and first request
    only where there are any. `evidence` is the `freehold` object of a request that had come further.
    """
    said: dict[str, str | None] = {
        "message": error.message,
        "type": HTTP[error.kind].type,
        "param": error.param,
        "code": error.code,
        "request_id": request,
    }
    for name in ("rule", "policy_version", "first_request"):
        if value := getattr(error, name):
            said[name] = value
    return {"error": said} if evidence is None else {"error": said, "freehold": evidence}


def error_headers(error: FreeholdError, request: str, body: bytes) -> Headers:
    """All headers of an error's answer."""
    row = HTTP[error.kind]
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request.encode()),
    ]
    if not row.retry:
        headers.append((b"x-should-retry", b"false"))
    elif row.status in (429, 503):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
        # Whole seconds would bring clients back in waves; OpenAI's clients read this first.
        headers.append((b"retry-after-ms", b"%d" % max(100, math.ceil(error.retry_after * 1000))))
    if row.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if row.close:
        headers.append((b"connection", b"close"))
    return headers


def refusal(error: FreeholdError, request: str) -> bytes:
    """A whole HTTP/1.1 answer that ends its connection, for a request that no application code sees."""
    body = orjson.dumps(error_value(error, request))
    status = HTTP[error.kind].status
    lines = [b"HTTP/1.1 %d %s" % (status, _REASONS[status])]
    headers = error_headers(error, request, body)
    lines += [name + b": " + value for name, value in headers if name != b"connection"]
    return b"\r\n".join([*lines, b"connection: close", b"", body])
