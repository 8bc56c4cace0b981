"""Tenants take turns; a flood waits behind itself."""

from hypothesis import given
from hypothesis import strategies as st

from services.edge.owner.ready_queue import PATIENCE_S, ReadyQueue


def always(_: str) -> bool:
    return True


def drained(queue: ReadyQueue[str]) -> list[str]:
    found = []
    while (item := queue.pop(always, 0.0)) is not None:
        found.append(item)
    return found


def test_a_flooding_tenant_waits_behind_its_own() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(100):
        queue.push("flood", f"f{number}", 0.0)
    queue.push("quiet", "q0", 0.0)
    queue.push("quiet", "q1", 0.0)
    assert drained(queue)[:4] == ["f0", "q0", "f1", "q1"]


def test_a_re_send_goes_before_its_tenants_others() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    queue.push("a", "later", 0.0)
    queue.push("a", "again", 0.0, first=True)
    assert drained(queue) == ["again", "later"]


def test_who_does_not_fit_is_passed_over_but_not_for_ever() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    queue.push("a", "large", 0.0)
    queue.push("b", "small0", 0.0)
    queue.push("b", "small1", 0.0)

    def small(item: str) -> bool:
        return item != "large"

    assert queue.pop(small, 1.0) == "small0"
    assert queue.pop(small, PATIENCE_S) is None, "nothing overtakes it any longer"
    assert queue.pop(always, PATIENCE_S) == "large"


def test_a_discarded_request_does_not_come_back() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for item in ("x", "y", "z"):
        queue.push("a", item, 0.0)
    queue.discard("a", "y")
    queue.discard("nobody", "y")
    assert len(queue) == 2
    assert drained(queue) == ["x", "z"]
    assert len(queue) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_everything_comes_out_once_and_in_its_tenants_order(pushes: list[tuple[str, bool]]) -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    expected: dict[str, list[str]] = {}
    for number, (tenant, first) in enumerate(pushes):
        item = f"{tenant}{number}"
        queue.push(tenant, item, 0.0, first=first)
        order = expected.setdefault(tenant, [])
        order.insert(0 if first else len(order), item)
    assert sorted(queue) == sorted(item for order in expected.values() for item in order)
    found = drained(queue)
    for tenant, order in expected.items():
        assert [item for item in found if item.startswith(tenant)] == order
    tenants = len(expected)
    for turn in range(min(map(len, expected.values()), default=0)):
        served = found[turn * tenants : (turn + 1) * tenants]
        assert len({item[0] for item in served}) == tenants, "each has its turn while it has any left"
