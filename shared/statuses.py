"""What each outcome is called on the wire: one table per transport, each complete."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from shared.errors import Kind


@dataclass(frozen=True)
class Http:
    """One row of the HTTP table."""

    status: int
    type: str
    """`error.type` in OpenAI's shape."""
    retry: bool = False
    """Whether a retry can mend it; where not, the answer says `x-should-retry: false`."""
    close: bool = False
    """Whether the connection is closed after the answer."""


HTTP: dict[Kind, Http] = {
    Kind.BAD_REQUEST: Http(400, "invalid_request_error"),
    Kind.UNSUPPORTED: Http(400, "invalid_request_error"),
    Kind.UNAUTHENTICATED: Http(401, "authentication_error"),
    Kind.FORBIDDEN: Http(403, "permission_error"),
    Kind.NOT_FOUND: Http(404, "invalid_request_error"),
    Kind.SLOW_BODY: Http(408, "invalid_request_error", retry=True, close=True),
    Kind.TOO_LARGE: Http(413, "invalid_request_error", close=True),
    Kind.NOT_JSON: Http(415, "invalid_request_error", close=True),
    Kind.HEADERS_TOO_LARGE: Http(431, "invalid_request_error", close=True),
    Kind.MODEL_UNKNOWN: Http(404, "invalid_request_error"),
    Kind.PRICE_MISSING: Http(503, "server_error"),
    Kind.POLICY: Http(400, "invalid_request_error"),
    Kind.CONTEXT_TOO_LONG: Http(400, "invalid_request_error"),
    Kind.BUDGET: Http(429, "insufficient_quota"),
    Kind.RATE: Http(429, "rate_limit_error", retry=True),
    Kind.OVERLOADED: Http(429, "overloaded_error", retry=True),
    Kind.REPEATED: Http(409, "invalid_request_error"),
    Kind.REPEATED_OTHERWISE: Http(422, "invalid_request_error"),
    Kind.CANCELLED: Http(499, "cancelled"),
    Kind.FAILED: Http(503, "server_error", retry=True),
    Kind.EXPIRED: Http(504, "server_error"),
    Kind.NOT_READY: Http(503, "server_error", retry=True),
    Kind.INTERNAL: Http(500, "server_error"),
}

GRPC: dict[Kind, grpc.StatusCode] = {
    Kind.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNSUPPORTED: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.SLOW_BODY: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.NOT_JSON: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.HEADERS_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.MODEL_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Kind.PRICE_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.POLICY: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.CONTEXT_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.BUDGET: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.RATE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.REPEATED: grpc.StatusCode.ALREADY_EXISTS,
    Kind.REPEATED_OTHERWISE: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.CANCELLED: grpc.StatusCode.ABORTED,
    Kind.FAILED: grpc.StatusCode.UNAVAILABLE,
    Kind.EXPIRED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}
