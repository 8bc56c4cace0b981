"""What must hold after every history, judged from the outside: logs, disks, engines and clients."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.clients import View
from tests.simulation.judges.books import judge_books
from tests.simulation.judges.delivery import judge_delivery
from tests.simulation.judges.ends import judge_ends
from tests.simulation.judges.evidence import Evidence, gather
from tests.simulation.judges.money import judge_money
from tests.simulation.judges.transparency import judge_log
from tests.simulation.plan import Plan
from tests.simulation.world import World

JUDGES = (judge_ends, judge_delivery, judge_money, judge_books, judge_log)


def judge(world: World, plan: Plan, views: list[View]) -> list[str]:
    """Every promise that was broken, in words."""
    return list(_all(gather(world, plan, views)))


def _all(evidence: Evidence) -> Iterator[str]:
    for one in JUDGES:
        yield from one(evidence)
