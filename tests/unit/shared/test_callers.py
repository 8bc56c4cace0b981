"""Whose credential is good, and for what."""

from __future__ import annotations

import pytest

from shared.callers import OPERATOR, Caller, Credentials
from shared.configuration import Configuration
from shared.errors import FreeholdError, Kind
from tests.integration.stepped_clock import SteppedClock


def test_a_role_or_the_operators_right_is_enough() -> None:
    admin = Caller("k", "acme", "web", frozenset({"admin"}))
    admin.require("admin")
    admin.require("usage", "admin")
    OPERATOR.require("anything")
    Caller("k", "acme", "web", frozenset({"operator"})).require("admin")
    for caller, roles in (
        (admin, ("usage",)),
        (admin, ("operator",)),
        (Caller("k", "acme", "web"), ("admin",)),
    ):
        with pytest.raises(FreeholdError) as refused:
            caller.require(*roles)
        assert refused.value.kind is Kind.FORBIDDEN


@pytest.mark.parametrize("peppers", [{1: b""}, {1: b"good", 2: b""}])
def test_an_empty_pepper_is_refused(peppers: dict[int, bytes]) -> None:
    with pytest.raises(FreeholdError, match="pepper"):
        Credentials(Configuration(), peppers, SteppedClock())


def test_no_token_is_no_credential() -> None:
    known = Credentials(Configuration(), {1: b"pepper"}, SteppedClock())
    assert known("") is None
    with_token = Credentials(Configuration(), {1: b"pepper"}, SteppedClock(), "token")
    assert with_token("token") is OPERATOR
    for wrong in ("", "toke", "token ", "tokené", "\x00"):
        assert with_token(wrong) is None


def test_while_a_token_is_replaced_both_are_good() -> None:
    known = Credentials(Configuration(), {1: b"pepper"}, SteppedClock(), "old", "new")
    assert known("old") is known("new") is OPERATOR
    assert known("old new") is None
