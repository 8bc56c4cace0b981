"""Bounds on what is in flight."""

import pytest

from services.edge.owner.admission import Admission, Limits
from shared.errors import FreeholdError, Kind


def refused(
    admission: Admission, key: str, size: int = 1, limit: int = 10, now: float = 0.0
) -> FreeholdError:
    with pytest.raises(FreeholdError) as caught:
        admission.enter(key, size, limit, now)
    assert caught.value.retry_after >= 1
    return caught.value


def test_count_over_all_keys_is_bounded() -> None:
    admission = Admission(Limits(in_flight=2))
    admission.enter("a", 1, 10, 0.0)
    admission.enter("b", 1, 10, 0.0)
    assert refused(admission, "c").kind is Kind.OVERLOADED
    admission.leave("a", 1)
    admission.enter("c", 1, 10, 0.0)


def test_bytes_over_all_keys_are_bounded() -> None:
    admission = Admission(Limits(in_flight_bytes=100))
    admission.enter("a", 60, 10, 0.0)
    assert refused(admission, "b", 41).kind is Kind.OVERLOADED
    admission.enter("b", 40, 10, 0.0)


def test_one_key_cannot_take_all() -> None:
    admission = Admission(Limits())
    admission.enter("a", 1, 2, 0.0)
    admission.enter("a", 1, 2, 0.0)
    assert refused(admission, "a", limit=2).kind is Kind.RATE
    admission.enter("b", 1, 2, 0.0)
    admission.leave("a", 1)
    admission.enter("a", 1, 2, 0.0)
    for key in ("a", "a", "b"):
        admission.leave(key, 1)
    assert (admission.count, admission.bytes) == (0, 0)


def test_the_rate_of_a_key_is_bounded() -> None:
    admission = Admission(Limits(key_rate=2.0, key_burst=2))
    for _ in range(2):
        admission.enter("a", 1, 10, 0.0)
    assert refused(admission, "a").kind is Kind.RATE
    admission.enter("b", 1, 10, 0.0)
    admission.forget(0.4)
    assert refused(admission, "a", now=0.4).kind is Kind.RATE
    admission.enter("a", 1, 10, 0.5)
    admission.forget(100.0)
    for _ in range(2):
        admission.enter("a", 1, 10, 100.0)
    assert refused(admission, "a", now=100.0).kind is Kind.RATE


def test_what_was_refused_does_not_count() -> None:
    admission = Admission(Limits(key_rate=1.0, key_burst=1))
    admission.enter("a", 5, 10, 0.0)
    refused(admission, "a", 5)
    assert (admission.count, admission.bytes) == (1, 5)
