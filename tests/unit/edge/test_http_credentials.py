"""One extractor for every header that may carry a credential."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.credentials import Credentials, credential
from services.edge.settings import EdgeSettings
from shared.callers import Credentials as Keys
from shared.clock import SystemClock
from shared.configuration import Configuration, hash_key
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.errors import FreeholdError, Kind

PEPPERS = {1: b"old", 2: b"new"}


def configuration(**fields: object) -> Configuration:
    """One key, `secret`, under pepper 2."""
    values = Configuration()
    values.organisations["o"] = config.Organisation(id="o")
    values.projects["p"] = config.Project(id="p", organisation="o")
    key = config.Key(id="k", organisation="o", project="p", hash=hash_key("secret", b"new"), pepper_version=2)
    key.roles.append("complete")
    for name, value in fields.items():
        setattr(key, name, value)
    values.keys["k"] = values.keys_by_hash[key.hash] = key
    return values


def credentials(values: Configuration) -> Credentials:
    """The edge's view of these keys."""
    return Credentials(Keys(values, PEPPERS, SystemClock()), values, EdgeSettings())


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer secret")],
        [(b"authorization", b"bearer  secret ")],
        [(b"x-api-key", b"secret")],
        [(b"x-api-key", b"secret"), (b"authorization", b"Bearer secret")],
    ],
)
def test_every_accepted_header_names_the_same_caller(headers: list[tuple[bytes, bytes]]) -> None:
    found = credentials(configuration()).identify(headers)
    assert (found.caller.key, found.secret) == ("k", "secret")


def test_a_key_that_may_not_have_been_read_yet_is_told_to_come_again() -> None:
    values, unread = configuration(), "the configuration has not been read to its end"
    keys = Keys(values, PEPPERS, SystemClock())
    starting = Credentials(keys, values, EdgeSettings(), lambda: unread)
    with pytest.raises(FreeholdError) as caught:
        starting.identify([(b"authorization", b"Bearer unread")])
    assert (caught.value.kind, caught.value.retry_after) == (Kind.NOT_READY, 1)
    assert starting.identify([(b"authorization", b"Bearer secret")]).caller.key == "k"
    with pytest.raises(FreeholdError) as caught:
        starting.identify([])
    assert caught.value.kind is Kind.UNAUTHENTICATED


@pytest.mark.attack(1)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer null")],
        [(b"authorization", b"secret")],
        [(b"authorization", b"Basic secret")],
        [(b"authorization", b"Bearer Secret")],
        [(b"authorization", b"Bearer \xff\x00' OR 1=1 --")],
        [(b"x-api-key", b"")],
        [(b"api-key", b"secret")],
    ],
)
def test_what_is_no_good_key_is_refused_alike(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(FreeholdError) as caught:
        credentials(configuration()).identify(headers)
    assert (caught.value.kind, caught.value.message) == (Kind.UNAUTHENTICATED, "no valid API key was given")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer secret"), (b"authorization", b"Bearer secret")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"a")],
        [(b"authorization", b"Bearer secret"), (b"x-api-key", b"other")],
        [(b"authorization", b"Basic secret"), (b"x-api-key", b"secret")],
        [(b"authorization", b"Bearer secret"), (b"x-api-key", b"")],
    ],
)
def test_doubled_or_disagreeing_headers_are_a_bad_request(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(FreeholdError) as caught:
        credentials(configuration()).identify(headers)
    assert caught.value.kind is Kind.BAD_REQUEST


@pytest.mark.parametrize("fields", [{"revoked": True}, {"expires_ns": 1}, {"pepper_version": 1}])
def test_a_key_that_is_over_is_no_key(fields: dict[str, object]) -> None:
    with pytest.raises(FreeholdError) as caught:
        credentials(configuration(**fields)).identify([(b"x-api-key", b"secret")])
    assert caught.value.kind is Kind.UNAUTHENTICATED


@pytest.mark.parametrize("disabled", ["organisations", "projects"])
def test_a_key_of_something_disabled_is_no_key(disabled: str) -> None:
    values = configuration()
    for value in getattr(values, disabled).values():
        value.disabled = True
    with pytest.raises(FreeholdError) as caught:
        credentials(values).identify([(b"x-api-key", b"secret")])
    assert caught.value.kind is Kind.UNAUTHENTICATED


def test_a_principal_has_its_keys_limits_or_the_defaults() -> None:
    values = configuration(deadline_ms=1500, max_in_flight=3, priority=config.PRIORITY_BATCH)
    values.keys["k"].models.append("m")
    known = credentials(values)
    found = known.principal(known.identify([(b"x-api-key", b"secret")]).caller)
    assert (found.deadline_s, found.max_in_flight, found.models) == (1.5, 3, frozenset({"m"}))
    assert found.priority == config.PRIORITY_BATCH
    plain = credentials(configuration())
    found = plain.principal(plain.identify([(b"x-api-key", b"secret")]).caller)
    settings = EdgeSettings()
    assert (found.deadline_s, found.max_in_flight) == (
        settings.default_deadline_s,
        settings.default_max_in_flight,
    )
    assert (found.organisation, found.project, found.models) == ("o", "p", frozenset())


def test_without_the_right_there_is_no_principal() -> None:
    values = configuration()
    del values.keys["k"].roles[:]
    values.keys["k"].roles.append("usage")
    known = credentials(values)
    with pytest.raises(FreeholdError) as caught:
        known.principal(known.identify([(b"x-api-key", b"secret")]).caller)
    assert caught.value.kind is Kind.FORBIDDEN


@given(
    st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"host"]), st.binary(max_size=20)))
)
def test_any_headers_are_a_credential_none_or_a_bad_request(headers: list[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in headers if name != b"host"]
    try:
        found = credential(headers)
    except FreeholdError:
        assert len(names) > 1
    else:
        assert len(names) == len(set(names))
        assert names or not found
