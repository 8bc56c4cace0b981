"""Whatever the order, however often, and wherever billing crashes: one final state.

The topics are logs; a consumer reads each from its own position. A delivery may be rolled back, or
committed and lost before its facts were published; either way it comes again.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from services.billing.books.settling import WAIT_MS, Batch, CloseEvent, Settled, UsageEvent, settle_batches
from services.billing.books.verify import verify
from shared.bus.ports import Record
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.edge.v1.events_pb2 import (
    ACCEPTED_NO,
    ACCEPTED_UNKNOWN,
    ACCEPTED_YES,
    RequestClosed,
)
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.unit.billing.world import NOW_NS, ORGANISATION, TRACE, World, budget, closed, ids, usage

NOW_MS = NOW_NS // 1_000_000
REQUESTS = [ids.request() for _ in range(3)]
STATES = [
    outcome.TERMINAL_STATE_COMPLETED,
    outcome.TERMINAL_STATE_REFUSED,
    outcome.TERMINAL_STATE_FAILED,
    outcome.TERMINAL_STATE_CANCELLED,
    outcome.TERMINAL_STATE_EXPIRED,
]


class Story(NamedTuple):
    """All that happens to one request."""

    request: str
    close: RequestClosed
    usages: list[UsageRecorded]


class Step(NamedTuple):
    """One delivery."""

    topic: str
    records: int
    fate: str
    """`done`, `rolled back` or `not published`."""


@st.composite
def stories(draw: st.DrawFn) -> list[Story]:
    found: list[Story] = []
    for request in REQUESTS:
        attempts = [
            (number, draw(st.sampled_from([ACCEPTED_YES, ACCEPTED_NO, ACCEPTED_UNKNOWN])), start, delivered)
            for number, (start, delivered) in enumerate(
                draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3)), 1
            )
        ]
        # Every attempt but the last may have lost its worker; of an unaccepted one usage 0 may come.
        usages = [
            usage(number, cached=number, generated=draw(st.integers(0, 12)))
            for number, accepted, _, _ in attempts
            if accepted == ACCEPTED_YES or draw(st.booleans())
        ]
        found.append(Story(request, closed(draw(st.sampled_from(STATES)), attempts), usages))
    return found


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["usage", "closed"]),
        st.integers(1, 4),
        st.sampled_from(["done", "rolled back", "not published"]),
    ),
    max_size=12,
)


class Crash(Exception):
    """The process ends here."""


def _settle(connection: Connection, batch: Batch, fate: str) -> Settled:
    settled = settle_batches(connection, [batch], NOW_NS)
    if fate == "rolled back":
        raise Crash
    return settled


class Billing:
    """Billing behind two logs."""

    def __init__(self, told: list[Story], shuffled: list[int]) -> None:
        self.world = World(budget(10**9))
        usages = [(story.request, item) for story in told for item in story.usages]
        order = sorted(range(len(usages)), key=lambda place: shuffled[place % len(shuffled)])
        self.logs: dict[str, list[tuple[str, UsageRecorded | RequestClosed]]] = {
            "usage": [usages[place] for place in order for _ in range(1 + shuffled[place % 5] % 2)],
            "closed": [(story.request, story.close) for story in told for _ in range(2)],
        }
        self.positions = {"usage": 0, "closed": 0}
        self.published: dict[str, set[bytes]] = {}

    def reserve(self) -> None:
        self.world.reserve(*(self.world.ask(request) for request in REQUESTS))

    def deliver(self, step: Step) -> None:
        start = self.positions[step.topic]
        taken = self.logs[step.topic][start : start + step.records]
        if not taken:
            return
        batch = Batch(step.topic, 0, start + len(taken))
        for offset, (request, event) in enumerate(taken, start):
            record = Record(step.topic, 0, offset, NOW_MS, None, event.SerializeToString(), ())
            if isinstance(event, UsageRecorded):
                batch.usages.append(UsageEvent(request, ORGANISATION, event, record))
            else:
                batch.closes.append(CloseEvent(request, ORGANISATION, "1", event, TRACE, record))
        try:
            settled = self.world.run(lambda connection: _settle(connection, batch, step.fate))
        except Crash:
            return
        if step.fate == "not published":
            return
        for fact in [item.fact for item in settled.booked] + settled.again:
            self.published.setdefault(fact.request, set()).add(fact.value)
        self.positions[step.topic] += len(taken)

    def finish(self, first: str) -> None:
        """Everything is read to the end, and time passes; what is swept goes through the outbox."""
        for topic in sorted(self.logs, key=lambda name: name != first):
            while self.positions[topic] < len(self.logs[topic]):
                self.deliver(Step(topic, 3, "done"))
        for item in self.world.sweep(NOW_MS + WAIT_MS + 1):
            self.published.setdefault(item.fact.request, set()).add(item.fact.value)

    def state(self) -> dict[str, object]:
        facts = {}
        for request, values in self.published.items():
            (value,) = values  # the same fact, however often it is published
            fact = RequestSettled.FromString(value)
            fact.seq = 0
            facts[request] = fact.SerializeToString(deterministic=True)
        return {
            "facts": facts,
            "accounts": self.world.accounts(),
            "budgets": self.world.rows("SELECT spent, reserved FROM budgets"),
            "rows": self.world.rows("SELECT request, state, billed FROM requests ORDER BY request"),
            "entries": self.world.rows("SELECT request, kind, total FROM entries ORDER BY request, kind"),
        }

    def check(self) -> None:
        found = self.world.run(lambda connection: verify(connection, ""))
        assert [check.violations for check in found] == [[]] * len(found)


def any_order_any_repetition_any_crash_one_final_state(
    told: list[Story], taken: list[Step], shuffled: list[int], first: str
) -> None:
    reference = Billing(told, list(range(9)))
    reference.reserve()
    reference.finish("usage")
    wanted = reference.state()
    tried = Billing(told, shuffled)
    tried.reserve()
    for step in taken:
        tried.deliver(step)
        tried.check()
    tried.finish(first)
    tried.check()
    assert tried.state() == wanted
    assert set(tried.published) == set(REQUESTS)


def a_reserve_or_a_sweep_at_any_time_leaves_the_books_in_order(
    told: list[Story], taken: list[Step], shuffled: list[int], reserve_at: int, sweep_at: int
) -> None:
    billing = Billing(told, shuffled)
    for place, step in enumerate([*taken, None]):
        if place == min(reserve_at, len(taken)):
            billing.reserve()
        if place == min(sweep_at, len(taken)):
            for item in billing.world.sweep(NOW_MS + 10**6):
                billing.published.setdefault(item.fact.request, set()).add(item.fact.value)
        if step is not None:
            billing.deliver(step)
        billing.check()
    billing.finish("usage")
    billing.check()
    assert all(len(values) == 1 for values in billing.published.values())
    assert set(billing.published) == set(REQUESTS)
    ((spent, reserved),) = billing.world.rows(
        "SELECT SUM(billed), SUM(CASE WHEN state = 'settled' THEN 0 ELSE reserved END) FROM requests"
    )
    budgets = billing.world.rows("SELECT spent, reserved FROM budgets")
    assert budgets in ([], [(spent, reserved)])
    assert reserved == 0


orders = given(stories(), steps, st.permutations(range(9)), st.sampled_from(["usage", "closed"]))
times = given(stories(), steps, st.permutations(range(9)), st.integers(0, 12), st.integers(0, 12))

test_one_final_state = settings(max_examples=150, deadline=None)(
    orders(any_order_any_repetition_any_crash_one_final_state)
)
test_the_books_stay_in_order = settings(max_examples=60, deadline=None)(
    times(a_reserve_or_a_sweep_at_any_time_leaves_the_books_in_order)
)
test_one_final_state_in_postgres = pytest.mark.usefixtures("shelf")(
    settings(max_examples=15, deadline=None)(orders(any_order_any_repetition_any_crash_one_final_state))
)
test_the_books_stay_in_order_in_postgres = pytest.mark.usefixtures("shelf")(
    settings(max_examples=10, deadline=None)(
        times(a_reserve_or_a_sweep_at_any_time_leaves_the_books_in_order)
    )
)
