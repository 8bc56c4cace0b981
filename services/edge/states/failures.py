"""What a client is told where a request does not complete: one function a cause."""

from __future__ import annotations

from shared.contracts.freehold.moderation.v1.events_pb2 import StreamRefused
from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestRefused
from shared.errors import FreeholdError, Kind

RETRY_AFTER_S = 1
ABOVE_BOUND = "prompt_bound_exceeded"
"""Code of the one failure that is an alarm: a reservation was made for too few tokens."""


def not_acknowledged() -> FreeholdError:
    """The bus did not take the request in time."""
    return _failed("the request could not be handed on; try again", "not_acknowledged")


def late() -> FreeholdError:
    """A step before the first token took too long."""
    return _failed("the request could not be prepared in time; try again", "preparation_late")


def step_failed(stage: str) -> FreeholdError:
    """A service could not do its step, or gave an answer that cannot be."""
    return _failed(f"a step failed: {stage}; try again", "step_failed")


def above_bound(count: int, bound: int) -> FreeholdError:
    """The prompt has more tokens than were reserved for."""
    return _failed(f"the prompt has {count} tokens, above the bound of {bound}", ABOVE_BOUND)


def too_many_cells(cells: int) -> FreeholdError:
    """The request would fill more than any live worker's pool."""
    return _failed(f"no worker's pool holds the {cells} tokens that this request may need", "too_many_cells")


def no_worker() -> FreeholdError:
    """No worker for the model was alive for too long."""
    return _failed("no worker for this model is alive; try again", "no_worker")


def attempts_lost() -> FreeholdError:
    """Four attempts were lost."""
    return _failed("four workers in a row were lost; try again", "attempts_lost")


def not_resumable() -> FreeholdError:
    """An attempt was lost after text had gone out, and no other worker can go on from it."""
    return _failed("the worker was lost and the answer cannot be continued", "not_resumable")


def work_refused() -> FreeholdError:
    """The worker does not serve what it was asked for."""
    return _failed("the worker does not serve this model as configured", "work_refused")


def unvetted() -> FreeholdError:
    """Moderation did not keep up: fail closed."""
    return _failed("the answer could not be checked against policy in time", "unvetted")


def shutting_down() -> FreeholdError:
    """This edge stops."""
    return FreeholdError(
        Kind.NOT_READY, "this server is stopping; try again", code="shutting_down", retry_after=RETRY_AFTER_S
    )


def expired() -> FreeholdError:
    """The deadline has passed."""
    return FreeholdError(Kind.EXPIRED, "the request did not finish before its deadline")


def cancelled(reason: str) -> FreeholdError:
    """The client left, read too slowly, or lost its key."""
    return FreeholdError(Kind.CANCELLED, f"the request was cancelled: {reason.replace('_', ' ')}")


def refused(refusal: RequestRefused) -> FreeholdError:
    """A service refused; its `kind` is known."""
    return FreeholdError(
        Kind[refusal.kind],
        refusal.message,
        param=refusal.param or None,
        code=refusal.code or None,
        rule=refusal.rule,
        policy_version=refusal.policy_versions[0] if refusal.policy_versions else "",
        first_request=refusal.first_request,
    )


def output_refused(refusal: StreamRefused) -> FreeholdError:
    """Moderation ended the answer."""
    return FreeholdError(
        Kind.POLICY,
        "the answer was ended by the content policy",
        rule=refusal.match.rule,
        policy_version=refusal.match.policy_version,
    )


def _failed(message: str, code: str) -> FreeholdError:
    return FreeholdError(Kind.FAILED, message, code=code, retry_after=RETRY_AFTER_S)
