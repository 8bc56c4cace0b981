"""Facts as they come on the bus, and the entry that each becomes. Pure.

Which fields an entry has is said here and nowhere else; a change of them is a new `FORMAT` in `entry.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import orjson
from google.protobuf.message import DecodeError

from services.audit.tlog.canonical import Json
from services.audit.tlog.entry import CHANGED, FORMAT, SETTLED, Entry
from services.audit.tlog.merkle import MAX_SIZE
from services.audit.tlog.tiles import MAX_ENTRY
from shared.contracts.freehold.billing.v1.events_pb2 import AttemptUsage, Money, RequestSettled, Tokens
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome

CONTROL = "control"
"""The stream of control's own facts."""
_BILLING = "billing/"
LONGEST_LIST = 128
"""Attempts, usages or rule matches that an entry holds; how many more there were is in `omitted`."""


class FactInvalid(ValueError):
    """A record that is no fact, or one that cannot become an entry."""


class Fact(NamedTuple):
    """One fact, ready to be appended."""

    stream: str
    """Whose `seq` it is: `control`, or `billing/` and the organisation."""
    seq: int
    """Gap-free in its stream, from 1."""
    organisation: str
    project: str
    """Empty for a configuration change, as is the request."""
    request: str
    entry: bytes


def billing_stream(organisation: str) -> str:
    """The stream of an organisation's settled requests."""
    return _BILLING + organisation


def organisation_of(stream: str) -> str:
    """The organisation of a billing stream; empty for control's."""
    return stream.removeprefix(_BILLING) if stream.startswith(_BILLING) else ""


def read_fact(kind: str, value: bytes) -> Fact:
    """The fact in a record of this type. Raises `FactInvalid`."""
    try:
        if kind == SETTLED:
            return _settled(RequestSettled.FromString(value))
        if kind == CHANGED:
            return _changed(ConfigurationChanged.FromString(value))
    except DecodeError as error:
        raise FactInvalid(f"{kind}: {error}") from None
    raise FactInvalid(f"{kind!r} is no fact")


def encode_entry(kind: str, fields: Entry) -> bytes:
    """The entry's bytes: what `canonical.encode` would give, in an eighth of its time.

    Raises `FactInvalid` above 65,535 of them.
    """
    data = orjson.dumps({**fields, "format": FORMAT, "kind": kind}, option=orjson.OPT_SORT_KEYS)
    if len(data) > MAX_ENTRY:
        raise FactInvalid(f"the entry has {len(data)} bytes, above {MAX_ENTRY}")
    return data


def _settled(fact: RequestSettled) -> Fact:
    if not (0 < fact.seq < MAX_SIZE and fact.organisation and fact.request):
        raise FactInvalid("a settled request has a seq, an organisation and an id")
    closed = fact.closed
    attempts, matches, usages = list(closed.attempts), _distinct(closed.matches), list(fact.usages)
    fields: Entry = {
        "accepted_ns": closed.accepted_ns,
        "answer_hash": closed.answer_hash.hex(),
        "attempts": [_attempt(item) for item in attempts[:LONGEST_LIST]],
        "closed_ns": closed.closed_ns,
        "code": closed.code,
        "finish": _finish(closed.finish),
        "first_text_ns": closed.first_text_ns,
        "input_verdict": _verdict(closed.input_verdict),
        "key": closed.key,
        "matches": matches[:LONGEST_LIST],
        "model": closed.model,
        "money": _money(fact.money),
        "omitted": sum(max(0, len(items) - LONGEST_LIST) for items in (attempts, matches, usages)),
        "organisation": fact.organisation,
        "outcome": closed.kind,
        "output_verdict": _verdict(closed.output_verdict),
        "owner_lost": fact.owner_lost,
        "period": fact.period,
        "policy_versions": list(closed.policy_versions),
        "project": closed.project,
        "request": fact.request,
        "request_hash": closed.request_hash.hex(),
        "resumed": closed.resumed,
        "seq": fact.seq,
        "settled_ns": fact.settled_ns,
        "state": _STATES.get(closed.state, str(closed.state)),
        "streamed": closed.streamed,
        "template_digest": closed.template_digest,
        "tokenizer_digest": closed.tokenizer_digest,
        "tokens": _tokens(fact.tokens),
        "usage_missing": fact.usage_missing,
        "usages": [_usage(item) for item in usages[:LONGEST_LIST]],
        "weights_digest": closed.weights_digest,
    }
    entry = encode_entry(SETTLED, fields)
    stream = billing_stream(fact.organisation)
    return Fact(stream, fact.seq, fact.organisation, closed.project, fact.request, entry)


def _changed(fact: ConfigurationChanged) -> Fact:
    if not (0 < fact.seq < MAX_SIZE and fact.kind and fact.id):
        raise FactInvalid("a configuration change has a seq, a kind and an id")
    fields: Entry = {
        "approver": fact.approver,
        "changed_ns": fact.changed_ns,
        "digest_after": fact.digest_after.hex(),
        "digest_before": fact.digest_before.hex(),
        "object": f"{fact.kind}/{fact.id}",
        "organisation": fact.organisation,
        "seq": fact.seq,
        "version": fact.version,
        "who": fact.who,
    }
    return Fact(CONTROL, fact.seq, fact.organisation, "", "", encode_entry(CHANGED, fields))


def _names(enum: Iterable[tuple[str, int]], prefix: str) -> dict[int, str]:
    return {number: name.removeprefix(prefix).lower() for name, number in enum}


_STATES = _names(outcome.TerminalState.items(), "TERMINAL_STATE_")
_VERDICTS = _names(outcome.Verdict.items(), "VERDICT_")
_FINISHES = _names(outcome.FinishReason.items(), "FINISH_REASON_")
_DIRECTIONS = _names(outcome.Direction.items(), "DIRECTION_")
_ACCEPTED = _names(edge.Accepted.items(), "ACCEPTED_")


def _verdict(value: int) -> str:
    return _VERDICTS.get(value, str(value))


def _finish(value: int) -> str:
    return _FINISHES.get(value, str(value))


def _attempt(item: edge.ClosedAttempt) -> Json:
    return {
        "accepted": _ACCEPTED.get(item.accepted, str(item.accepted)),
        "attempt": item.attempt,
        "delivered": sum(choice.delivered for choice in item.choices),
    }


def _usage(item: AttemptUsage) -> Json:
    return {
        "attempt": item.attempt,
        "cached": item.cached,
        "energy_mj": item.energy_mj if item.HasField("energy_mj") else None,
        "generated": item.generated,
        "prompt": item.prompt,
        "reason": _finish(item.reason),
    }


def _distinct(items: Iterable[outcome.RuleMatch]) -> list[Json]:
    """Each rule that matched once for each direction, in the order of the first matches."""
    found: dict[tuple[str, str, int, int], Json] = {}
    for item in items:
        found.setdefault(
            (item.rule, item.policy_version, item.action, item.direction),
            {
                "action": _verdict(item.action),
                "category": item.category,
                "direction": _DIRECTIONS.get(item.direction, str(item.direction)),
                "policy_version": item.policy_version,
                "rule": item.rule,
            },
        )
    return list(found.values())


def _tokens(item: Tokens) -> Json:
    return {
        "billed": item.billed,
        "cached": item.cached,
        "chain": item.chain,
        "delivered": item.delivered,
        "generated": item.generated,
        "prompt": item.prompt,
    }


def _money(item: Money) -> Json:
    return {
        "cached": item.cached,
        "currency": item.currency,
        "operator_cost": item.operator_cost,
        "output": item.output,
        "price_version": item.price_version,
        "prices": {
            "cached": item.prices.cached,
            "output": item.prices.output,
            "prompt": item.prices.prompt,
        },
        "prompt": item.prompt,
        "reserved": item.reserved,
        "total": item.total,
    }
