"""Makes a failing plan smaller while it fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.history import Result
from tests.simulation.plan import Ask, Fault, Plan

MOST_TRIES = 150


def kinds(result: Result) -> frozenset[str]:
    """What went wrong, without numbers, names and texts."""
    return frozenset(re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f-]{8,}|\d+", "", text) for text in result.violations)


def shrink(failed: Result, play: Callable[[Plan], Result]) -> Result:
    """The smallest result found that breaks one of the same promises."""
    wanted, best = kinds(failed), failed
    tries = 0
    again = True
    while again and tries < MOST_TRIES:
        again = False
        for plan in _smaller(best.plan):
            tries += 1
            if tries > MOST_TRIES:
                break
            result = play(plan)
            if kinds(result) & wanted:
                best, again = result, True
                break
    return best


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them: halves first, then one thing less, then simpler things."""
    for name in ("faults", "asks"):
        held: tuple[Fault | Ask, ...] = getattr(plan, name)
        size = len(held) // 2
        while size >= 1:
            for start in range(0, len(held), size):
                yield replace(plan, **{name: held[:start] + held[start + size :]})
            size //= 2
    for place, ask in enumerate(plan.asks):
        for simpler in _simpler(ask):
            yield replace(plan, asks=(*plan.asks[:place], simpler, *plan.asks[place + 1 :]))


def _simpler(ask: Ask) -> Iterator[Ask]:
    plain = replace(
        ask,
        leaves_after=None,
        reads_every=0.0,
        deadline_s=120.0,
        idempotency="",
        choices=1,
        most=min(ask.most, 3),
    )
    for name in ("leaves_after", "reads_every", "deadline_s", "idempotency", "choices", "most"):
        if getattr(ask, name) != getattr(plain, name):
            yield replace(ask, **{name: getattr(plain, name)})
