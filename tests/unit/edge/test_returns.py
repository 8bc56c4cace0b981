"""When refused clients may come back."""

import random
from itertools import pairwise

from services.edge.owner.returns import GRACE_S, JITTER, MOST_S, Returns


def test_each_is_told_its_own_time() -> None:
    returns = Returns(random.Random(3))
    told = [returns.promise("t", "k", 2.0, 0.5, 0.0) for _ in range(60)]
    assert told[0] >= 2.0
    assert sum(later > earlier for earlier, later in pairwise(told)) > 40
    assert max(told) > 25, "the sixtieth comes after 59 have had their room"


def test_nobody_is_told_to_wait_for_ever_and_such_are_spread_too() -> None:
    returns = Returns(random.Random(3))
    told = [returns.promise("t", "k", 5.0, 3.0, 0.0) for _ in range(200)]
    assert max(told) <= MOST_S
    last = told[50:]
    assert len(set(last)) == len(last)
    assert min(last) >= MOST_S * (1 - JITTER)


def test_a_promise_is_due_from_its_time_until_the_grace_has_passed() -> None:
    returns = Returns(random.Random(3))
    told = returns.promise("t", "k", 2.0, 0.1, 0.0)
    assert not returns.keep("t", "k", 1.9)
    assert returns.due("t", told) == 1
    assert not returns.keep("t", "other", told)
    assert not returns.keep("u", "k", told)
    assert returns.keep("t", "k", told + GRACE_S)
    assert not returns.keep("t", "k", told + GRACE_S), "it is kept once"


def test_promises_lapse_and_are_forgotten() -> None:
    returns = Returns(random.Random(3))
    told = returns.promise("t", "k", 2.0, 0.1, 0.0)
    late = told + GRACE_S + 0.1
    assert not returns.due("t", late)
    returns.forget(late)
    assert not returns._calendars
