"""Bounds on what is in flight and on waiting."""

import random

import pytest

from services.edge.owner.admission import LEAST_WAIT_S, Admission, Asking, Delay, Limits
from shared.errors import FreeholdError, Kind


def admission_of(**limits: float) -> Admission:
    return Admission(Limits(**{"tenant_part": 1.0, **limits}), random.Random(1))  # type: ignore[arg-type]


def asking(
    key: str, size: int = 1, tokens: int = 1, limit: int = 10, tenant: str = "", **more: object
) -> Asking:
    return Asking(key, tenant or key, size, tokens, limit, 120.0, **more)  # type: ignore[arg-type]


def refused(admission: Admission, one: Asking, now: float = 0.0) -> FreeholdError:
    before = admission.held
    with pytest.raises(FreeholdError) as caught:
        admission.enter(one, now)
    assert 0 < caught.value.retry_after <= 60
    assert admission.held == before, "what was refused does not count"
    return caught.value


def test_count_over_all_keys_is_bounded() -> None:
    admission = admission_of(in_flight=2)
    admission.enter(asking("a"), 0.0)
    admission.enter(asking("b"), 0.0)
    assert refused(admission, asking("c")).kind is Kind.OVERLOADED
    admission.leave(asking("a"), 1.0, 1.0)
    admission.enter(asking("c"), 1.0)


@pytest.mark.parametrize("what", ["size", "tokens"])
def test_bytes_and_tokens_over_all_keys_are_bounded(what: str) -> None:
    admission = admission_of(in_flight_bytes=100, in_flight_tokens=100)
    admission.enter(asking("a", **{what: 60}), 0.0)
    assert refused(admission, asking("b", **{what: 41})).kind is Kind.OVERLOADED
    admission.enter(asking("b", **{what: 40}), 0.0)


def test_one_key_cannot_take_all() -> None:
    admission = admission_of()
    admission.enter(asking("a", limit=2), 0.0)
    admission.enter(asking("a", limit=2), 0.0)
    assert refused(admission, asking("a", limit=2)).kind is Kind.RATE
    admission.enter(asking("b"), 0.0)
    admission.leave(asking("a"), 1.0, 1.0)
    admission.enter(asking("a", limit=2), 1.0)
    for key in ("a", "a", "b"):
        admission.leave(asking(key), 1.0, 2.0)
    assert admission.held == (0, 0, 0)


@pytest.mark.parametrize("what", ["size", "tokens", "requests"])
def test_one_tenant_cannot_take_all_of_anything(what: str) -> None:
    admission = admission_of(in_flight=100, in_flight_bytes=100, in_flight_tokens=100, tenant_part=0.8)
    more = {} if what == "requests" else {what: 1}
    flood = asking("flood", limit=1000, size=0, tokens=0)._replace(**more)
    for _ in range(80):
        admission.enter(flood, 0.0)
    error = refused(admission, flood)
    assert (error.kind, "organisation" in error.message) == (Kind.RATE, True)
    other = flood._replace(key="other", tenant="other")
    for _ in range(16):
        admission.enter(other, 0.0)
    assert refused(admission, other).kind is Kind.RATE
    for number in range(3):
        admission.enter(flood._replace(key=f"k{number}", tenant=f"t{number}"), 0.0)


def test_the_rate_of_a_key_is_bounded() -> None:
    admission = admission_of(key_rate=2.0, key_burst=2)
    for _ in range(2):
        admission.enter(asking("a"), 0.0)
    assert refused(admission, asking("a")).kind is Kind.RATE
    admission.enter(asking("b"), 0.0)
    admission.forget(0.4)
    assert refused(admission, asking("a"), 0.4).kind is Kind.RATE
    admission.enter(asking("a"), 0.5)
    admission.forget(100.0)
    for _ in range(2):
        admission.enter(asking("a"), 100.0)
    assert refused(admission, asking("a"), 100.0).kind is Kind.RATE


def test_what_would_wait_too_long_is_refused_at_once() -> None:
    admission = admission_of()
    admission.enter(asking("a", delay=Delay(LEAST_WAIT_S, 0.5, 0.1)), 0.0)
    error = refused(admission, asking("a", delay=Delay(3.0, 4.0, 0.1)))
    assert error.kind is Kind.OVERLOADED
    assert error.retry_after == pytest.approx(1.0, rel=0.11), "3 s less the 2 s that it may wait"


def test_a_batch_request_may_wait_as_long_as_its_deadline_allows() -> None:
    admission = admission_of()
    admission.enter(asking("a", batch=True, delay=Delay(100.0, 4.0, 0.1)), 0.0)
    refused(admission, asking("a", batch=True, delay=Delay(117.0, 4.0, 0.1)))


def test_a_setting_says_how_long_requests_may_wait() -> None:
    admission = admission_of(wait_s=30.0)
    admission.enter(asking("a", delay=Delay(29.0, 4.0, 0.1)), 0.0)
    refused(admission, asking("a", delay=Delay(31.0, 4.0, 0.1)))


def test_room_is_left_for_those_who_were_told_to_come_back() -> None:
    admission = admission_of()
    full = Delay(2.1, 4.0, 0.5)
    told = refused(admission, asking("patient", tenant="t", delay=full)).retry_after
    half = Delay(1.5, 4.0, 0.5)
    refused(admission, asking("newcomer", tenant="t", delay=half), told)
    admission.enter(asking("elsewhere", tenant="u", delay=half), told)
    admission.enter(asking("patient", tenant="t", delay=full), told)
    admission.enter(asking("newcomer", tenant="t", delay=half), told)
