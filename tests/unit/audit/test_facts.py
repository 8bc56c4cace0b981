"""Facts become entries: whole, deterministic, small, without text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.facts import (
    CONTROL,
    FactInvalid,
    billing_stream,
    encode_entry,
    organisation_of,
    read_fact,
)
from services.audit.tlog.canonical import Json, decode, encode
from services.audit.tlog.entry import CHANGED, SETTLED, decode_entry
from shared.contracts.freehold.billing.v1.events_pb2 import (
    AttemptUsage,
    Money,
    RequestSettled,
    Tokens,
    UnitPrices,
)
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome

REQUEST = "01890a5d-ac96-774b-bcce-b302099a8057"


def settled(**more: object) -> RequestSettled:
    closed = edge.RequestClosed(
        project="p",
        key="k",
        model="m",
        state=outcome.TERMINAL_STATE_COMPLETED,
        attempts=[
            edge.ClosedAttempt(
                attempt=2,
                accepted=edge.ACCEPTED_YES,
                choices=[edge.ClosedChoice(delivered=3), edge.ClosedChoice(choice=1, delivered=4)],
            )
        ],
        input_verdict=outcome.VERDICT_FLAG,
        output_verdict=outcome.VERDICT_ALLOW,
        matches=[
            outcome.RuleMatch(
                rule="r1",
                category="c",
                policy_version="base@1",
                action=outcome.VERDICT_FLAG,
                direction=outcome.DIRECTION_INPUT,
            )
        ]
        * 3,
        policy_versions=["base@1"],
        weights_digest="aa",
        request_hash=b"\x01" * 32,
        answer_hash=b"\x02" * 32,
        accepted_ns=1_800_000_000_000_000_001,
        finish=outcome.FINISH_REASON_STOP,
    )
    fields: dict[str, object] = {
        "request": REQUEST,
        "organisation": "org",
        "seq": 7,
        "closed": closed,
        "tokens": Tokens(prompt=9, chain=7, generated=7, delivered=7, billed=7),
        "money": Money(currency="EUR", total=(1 << 60) + 1, prices=UnitPrices(prompt=5)),
        "usages": [AttemptUsage(attempt=2, generated=7, energy_mj=4), AttemptUsage(attempt=1)],
    }
    return RequestSettled(**(fields | more))  # type: ignore[arg-type]


def test_a_settled_request() -> None:
    fact = read_fact(SETTLED, settled().SerializeToString())
    assert fact[:5] == (billing_stream("org"), 7, "org", "p", REQUEST)
    entry = decode_entry(fact.entry)
    assert entry["kind"] == SETTLED
    assert entry["state"] == "completed"
    assert entry["finish"] == "stop"
    assert (entry["input_verdict"], entry["output_verdict"]) == ("flag", "allow")
    assert entry["answer_hash"] == "02" * 32
    assert entry["accepted_ns"] == 1_800_000_000_000_000_001
    assert entry["attempts"] == [{"accepted": "yes", "attempt": 2, "delivered": 7}]
    assert entry["matches"] == [
        {"action": "flag", "category": "c", "direction": "input", "policy_version": "base@1", "rule": "r1"}
    ]
    assert [usage["energy_mj"] for usage in entry["usages"]] == [4, None]  # type: ignore[union-attr, index, call-overload]
    assert entry["money"]["total"] == (1 << 60) + 1  # type: ignore[index, call-overload]
    assert entry["omitted"] == 0


def test_every_field_of_the_contract_is_in_the_entry() -> None:
    """A field that is added to the contract must be added to the entry, or refused here by name."""
    entry = decode_entry(read_fact(SETTLED, settled().SerializeToString()).entry)
    renamed = {"kind": "outcome", "closed": "closed_ns"}
    for message in (RequestSettled, edge.RequestClosed):
        for field in message.DESCRIPTOR.fields:
            assert renamed.get(field.name, field.name) in entry, field.name
    for part, fields in (("money", Money.DESCRIPTOR.fields), ("tokens", Tokens.DESCRIPTOR.fields)):
        assert set(entry[part]) == {field.name for field in fields}  # type: ignore[arg-type]
    change = decode_entry(read_fact(CHANGED, changed().SerializeToString()).entry)
    for field in ConfigurationChanged.DESCRIPTOR.fields:
        assert {"kind": "object", "id": "object"}.get(field.name, field.name) in change, field.name


def changed() -> ConfigurationChanged:
    return ConfigurationChanged(
        seq=1, kind="policy", id="base", version=2, who="anna", approver="otto", digest_after=b"\xff" * 32
    )


def test_a_configuration_change() -> None:
    fact = read_fact(CHANGED, changed().SerializeToString())
    assert fact[:5] == (CONTROL, 1, "", "", "")
    entry = decode_entry(fact.entry)
    assert entry["object"] == "policy/base"
    assert (entry["who"], entry["approver"]) == ("anna", "otto")
    assert (entry["digest_before"], entry["digest_after"]) == ("", "ff" * 32)


def test_streams_of_tenants_and_of_control_never_meet() -> None:
    assert organisation_of(billing_stream("control")) == "control"
    assert billing_stream("") != CONTROL
    assert organisation_of(CONTROL) == ""


def test_the_largest_request_fits_and_says_what_was_left_out() -> None:
    fact = settled()
    long = "x" * 64
    for number in range(1000):
        fact.closed.attempts.add(attempt=number, accepted=edge.ACCEPTED_NO)
        fact.closed.matches.add(rule=f"{long}{number}", category=long, policy_version=long)
        fact.usages.add(attempt=number, generated=1 << 30)
    entry = read_fact(SETTLED, fact.SerializeToString()).entry
    assert decode_entry(entry)["omitted"] == (1001 - 128) + (1001 - 128) + (1002 - 128)


def test_numbers_of_a_newer_contract_are_kept_as_numbers() -> None:
    fact = settled()
    fact.closed.state = 99  # type: ignore[assignment]
    assert decode_entry(read_fact(SETTLED, fact.SerializeToString()).entry)["state"] == "99"


def test_the_same_fact_gives_the_same_bytes() -> None:
    one, other = (read_fact(SETTLED, settled().SerializeToString()) for _ in range(2))
    assert one == other
    assert decode(one.entry)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SETTLED, b"\xff\xff"),
        (SETTLED, b""),
        (SETTLED, settled(seq=0).SerializeToString()),
        (SETTLED, settled(seq=(1 << 64) - 1).SerializeToString()),
        (SETTLED, settled(organisation="").SerializeToString()),
        (SETTLED, settled(request="").SerializeToString()),
        (SETTLED, settled(period="x" * 70_000).SerializeToString()),
        (CHANGED, b""),
        (CHANGED, b"\x08"),
        ("RequestClosed", b""),
        ("", b""),
    ],
)
def test_what_is_no_fact(kind: str, value: bytes) -> None:
    with pytest.raises(FactInvalid):
        read_fact(kind, value)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FIELDS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(FIELDS)
def test_the_fast_encoding_is_the_canonical_one(fields: dict[str, Json]) -> None:
    whole = {**fields, "format": 1, "kind": SETTLED}
    assert encode_entry(SETTLED, fields) == encode(whole)


def test_every_character_below_256_is_written_alike() -> None:
    fields: dict[str, Json] = {"text": "".join(map(chr, range(256))) + "\u2028\u2029\ufeff\U0001f642"}
    assert decode_entry(encode_entry(SETTLED, fields))["text"] == fields["text"]
