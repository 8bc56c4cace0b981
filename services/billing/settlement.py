"""What one request owes: the join of its owner's evidence and its workers' usages. Pure.

The rules are in proto/README.md, section 4. Usages are counted in token ids by the workers, delivery by the
owner; neither is believed beyond the other: output is billed up to what was generated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from services.billing.pricing import charge
from shared.contracts.freehold.platform.v1.outcome_pb2 import TerminalState
from shared.money import Charge, Prices, billed_output, line, prompt_is_billed


class Accepted(IntEnum):
    """Whether a worker took an attempt, as far as the owner knows; the numbers are the contract's."""

    YES = 1
    NO = 2
    UNKNOWN = 3


class ChoiceDelivery(NamedTuple):
    """What one attempt delivered of one choice."""

    choice: int
    from_index: int
    """Ids that the choice already had when the attempt began."""
    delivered: int


class Attempt(NamedTuple):
    """One dispatch, as its owner saw it."""

    number: int
    accepted: int
    choices: tuple[ChoiceDelivery, ...]


class Close(NamedTuple):
    """What billing needs of a `RequestClosed`."""

    state: TerminalState
    attempts: Sequence[Attempt]


class Usage(NamedTuple):
    """What the worker of one attempt counted."""

    attempt: int
    prompt: int
    cached: int
    generated: Sequence[tuple[int, int]]
    """(choice, ids generated) of this attempt alone, prefixes not included."""

    @property
    def ids(self) -> int:
        """Ids generated over all choices."""
        return sum(count for _, count in self.generated)


class Settlement(NamedTuple):
    """The account of one request. Amounts are 10^-9 of a currency unit, the rest are tokens."""

    prompt: int
    cached: int
    chain: int
    generated: int
    delivered: int
    billed: int
    charge: Charge
    operator_cost: int
    usage_missing: bool


def awaited(close: Close) -> frozenset[int]:
    """Attempts whose usages the settlement waits for; it counts no others."""
    return frozenset([attempt.number for attempt in close.attempts if attempt.accepted != _NO])


def settle(close: Close, usages: Mapping[int, Usage], prices: Prices, reserved: int) -> Settlement:
    """Settle a request with the usages that are there, by attempt.

    A missing usage of an attempt that is *unknown* makes it a *no*; of a *yes*, its delivered ids stand
    in and the settlement says so. Prompt and cached are the last attempt's; where its worker
    counted none, being dead or never having begun, those of the last one that did, else nothing: what
    no worker counted is not billed.
    """
    counted = _counted(close.attempts, usages)
    delivered = _delivered(close.attempts)
    chains = _chains(counted, delivered)
    chain = sum(chains.values())
    last, generated, missing = _NOTHING, 0, False
    for attempt, usage in counted:
        generated += _ids(attempt, usage)
        if usage is None:
            missing = True
        elif usage.prompt:
            last = usage
    generated = max(chain, generated)
    cached = min(last.cached, last.prompt)
    prompt_billed = prompt_is_billed(close.state, bool(counted))
    backed = 0
    for choice, count in delivered.items():
        backed += min(count, chains.get(choice, 0))
    # Where a usage is missing, `chain` holds the delivered ids already.
    billed = billed_output(close.state, bool(counted), chain, backed, usage_missing=False)
    paid = (last.prompt, cached) if prompt_billed else (0, 0)
    amounts, excess = charge(prices, *paid, billed, reserved)
    cost = line(generated - billed, prices.output) + excess
    tokens = (last.prompt, cached, chain, generated, sum(delivered.values()), billed)
    return Settlement(*tokens, amounts, cost, missing)


_NOTHING = Usage(0, 0, 0, ())
# Of an enumeration every look at a member goes through its class.
_YES, _NO, _UNKNOWN = (int(Accepted.YES), int(Accepted.NO), int(Accepted.UNKNOWN))
Counted = Sequence[tuple[Attempt, Usage | None]]


def _counted(attempts: Sequence[Attempt], usages: Mapping[int, Usage]) -> Counted:
    """Attempts that a worker took, oldest first, each with its usage."""
    found: list[tuple[Attempt, Usage | None]] = []
    for attempt in sorted(attempts) if len(attempts) > 1 else attempts:
        usage = usages.get(attempt.number)
        accepted = attempt.accepted
        if accepted == _YES or (accepted == _UNKNOWN and usage is not None):
            found.append((attempt, usage))
    return found


def _delivered(attempts: Iterable[Attempt]) -> dict[int, int]:
    """Delivered ids of each choice, over all attempts."""
    found: dict[int, int] = {}
    for attempt in attempts:
        for choice, _, delivered in attempt.choices:
            found[choice] = found.get(choice, 0) + delivered
    return found


def _chains(counted: Counted, delivered: Mapping[int, int]) -> dict[int, int]:
    """Ids that exist of each choice: the prefix of the last attempt that had it, and what that generated."""
    chains: dict[int, int] = {}
    for attempt, usage in counted:
        starts = {choice: start for choice, start, _ in attempt.choices}
        if usage is None:
            chains.update((choice, delivered[choice]) for choice in starts)
            continue
        chains.update(starts)
        for choice, count in usage.generated:
            chains[choice] = starts.get(choice, 0) + count
    return chains


def _ids(attempt: Attempt, usage: Usage | None) -> int:
    """What an attempt generated, as far as anybody counted it."""
    return usage.ids if usage else sum(choice.delivered for choice in attempt.choices)
