"""Outcomes: one kind per row of the protocol's table.

A service raises `FreeholdError` with a kind; only the transports know status codes (`shared.statuses`).
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What became of a request that has no answer. The value is the default `code` for clients."""

    BAD_REQUEST = "invalid_request_error"
    UNSUPPORTED = "unsupported_parameter"
    UNAUTHENTICATED = "invalid_api_key"
    FORBIDDEN = "permission_denied"
    NOT_FOUND = "not_found"
    SLOW_BODY = "request_timeout"
    TOO_LARGE = "request_too_large"
    NOT_JSON = "unsupported_media_type"
    HEADERS_TOO_LARGE = "headers_too_large"
    MODEL_UNKNOWN = "model_not_found"
    PRICE_MISSING = "price_missing"
    POLICY = "content_policy_violation"
    CONTEXT_TOO_LONG = "context_length_exceeded"
    BUDGET = "insufficient_quota"
    RATE = "rate_limit_exceeded"
    OVERLOADED = "overloaded"
    REPEATED = "idempotency_key_in_use"
    REPEATED_OTHERWISE = "idempotency_key_reused"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "deadline_exceeded"
    NOT_READY = "not_ready"
    INTERNAL = "internal_error"


class FreeholdError(Exception):
    """An outcome that a client may see. The message is for the client: no secrets, no prompt text."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        rule: str = "",
        policy_version: str = "",
        retry_after: float = 0,
        first_request: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        """The request's field that is at fault, as a path such as `messages[0].content`."""
        self.code = code or kind.value
        self.rule = rule
        self.policy_version = policy_version
        self.retry_after = retry_after
        """Seconds; 0 = not said."""
        self.first_request = first_request
        """Where an idempotency key repeats: the request that had it first."""
