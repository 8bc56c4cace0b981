"""Each outcome of the protocol has one row in each transport's table."""

from __future__ import annotations

import pytest

from shared.errors import FreeholdError, Kind
from shared.statuses import GRPC, HTTP

# Outcome -> (HTTP status, code, gRPC status name): the protocol's table, section 3.
PROTOCOL = {
    Kind.BAD_REQUEST: (400, "invalid_request_error", "INVALID_ARGUMENT"),
    Kind.UNAUTHENTICATED: (401, "invalid_api_key", "UNAUTHENTICATED"),
    Kind.FORBIDDEN: (403, "permission_denied", "PERMISSION_DENIED"),
    Kind.NOT_FOUND: (404, "not_found", "NOT_FOUND"),
    Kind.MODEL_UNKNOWN: (404, "model_not_found", "NOT_FOUND"),
    Kind.PRICE_MISSING: (503, "price_missing", "FAILED_PRECONDITION"),
    Kind.POLICY: (400, "content_policy_violation", "FAILED_PRECONDITION"),
    Kind.CONTEXT_TOO_LONG: (400, "context_length_exceeded", "INVALID_ARGUMENT"),
    Kind.BUDGET: (429, "insufficient_quota", "RESOURCE_EXHAUSTED"),
    Kind.RATE: (429, "rate_limit_exceeded", "RESOURCE_EXHAUSTED"),
    Kind.OVERLOADED: (429, "overloaded", "RESOURCE_EXHAUSTED"),
    Kind.REPEATED: (409, "idempotency_key_in_use", "ALREADY_EXISTS"),
    Kind.REPEATED_OTHERWISE: (422, "idempotency_key_reused", "FAILED_PRECONDITION"),
    Kind.CANCELLED: (499, "cancelled", "ABORTED"),
    Kind.FAILED: (503, "failed", "UNAVAILABLE"),
    Kind.EXPIRED: (504, "deadline_exceeded", "DEADLINE_EXCEEDED"),
    Kind.NOT_READY: (503, "not_ready", "UNAVAILABLE"),
}


def test_every_kind_is_in_every_table_and_nothing_else_is() -> None:
    assert set(HTTP) == set(GRPC) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_no_outcome_is_a_success(kind: Kind) -> None:
    assert HTTP[kind].status >= 400
    assert GRPC[kind].value[0] != 0


@pytest.mark.parametrize("kind", PROTOCOL)
def test_the_tables_say_what_the_protocol_says(kind: Kind) -> None:
    assert (HTTP[kind].status, FreeholdError(kind, "x").code, GRPC[kind].name) == PROTOCOL[kind]


@pytest.mark.parametrize("kind", [Kind.SLOW_BODY, Kind.TOO_LARGE, Kind.NOT_JSON, Kind.HEADERS_TOO_LARGE])
def test_a_broken_transfer_closes_the_connection(kind: Kind) -> None:
    assert HTTP[kind].close


@pytest.mark.parametrize(
    "kind", [Kind.POLICY, Kind.BUDGET, Kind.REPEATED, Kind.REPEATED_OTHERWISE, Kind.EXPIRED, Kind.CANCELLED]
)
def test_what_a_retry_cannot_mend_is_not_retried(kind: Kind) -> None:
    assert not HTTP[kind].retry
