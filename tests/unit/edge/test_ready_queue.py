"""Tenants share by tokens; a flood waits behind itself; nobody starves."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.owner.ready_queue import BATCH_BEHIND_S, KEPT, Ask, ReadyQueue


def always(_: str) -> bool:
    return True


ASKS: dict[str, Ask] = {}


def push(
    queue: ReadyQueue[str],
    tenant: str,
    item: str,
    tokens: int = 100,
    share: int = 100,
    *,
    now: float = 0.0,
    batch: bool = False,
) -> None:
    ASKS[item] = Ask(tenant, tokens, share, batch)
    queue.push(item, ASKS[item], now)


def serve(queue: ReadyQueue[str], used: float = 1.0) -> str:
    """Pop, run and end one that uses this share of its tokens; empty where none waits."""
    item = queue.pop(always) or ""
    if item:
        queue.settle(ASKS[item], ASKS[item].tokens * used)
    return item


def drained(queue: ReadyQueue[str]) -> list[str]:
    found = []
    while item := queue.pop(always):
        found.append(item)
    return found


def test_a_flooding_tenant_waits_behind_its_own() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(100):
        push(queue, "flood", f"f{number}")
    push(queue, "quiet", "q0")
    push(queue, "quiet", "q1")
    assert drained(queue)[:4] == ["f0", "q0", "f1", "q1"]


def test_tokens_are_shared_not_requests() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(20):
        push(queue, "large", f"L{number}", 1000)
        push(queue, "small", f"s{number}", 100)
    first = drained(queue)[:13]
    assert sum(item.startswith("s") for item in first) in (11, 12), "ten small ones a large one"


def test_who_comes_back_has_saved_up_nothing() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(50):
        push(queue, "steady", f"s{number}")
    for _ in range(40):
        assert serve(queue)
    for number in range(10):
        push(queue, "fresh", f"f{number}")
    served = [serve(queue) for _ in range(10)]
    assert sum(item.startswith("f") for item in served) in (5, 6)


def test_one_request_at_a_time_does_not_outwit_the_queue() -> None:
    """A tenant that is never idle for long is held to what it was served, though its queue runs empty."""
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(100):
        push(queue, "steady", f"s{number}")
    served = defaultdict(int)
    push(queue, "sly", "x")
    for number in range(60):
        item = serve(queue)
        served[item[0]] += 1
        if item[0] == "x":
            push(queue, "sly", f"x{number}")
    assert abs(served["x"] - served["s"]) <= 2


def test_what_was_not_used_is_given_back() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(20):
        push(queue, "a", f"a{number}", 1000)
        push(queue, "b", f"b{number}", 1000)
    served = defaultdict(int)
    for turn in range(12):
        item = queue.pop(always) or ""
        served[item[0]] += 1
        queue.settle(ASKS[item], 100 if item[0] == "a" else 1000)
        if turn == 0:
            push(queue, "c", "c0", 1000)
    assert served["a"] >= 9, "its answers are ten times shorter than they might be"


def test_a_newcomer_does_not_wait_for_what_others_run_and_will_not_use() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(20):
        push(queue, "flood", f"f{number}", 1000)
    running = [queue.pop(always) or "" for _ in range(10)]
    push(queue, "quiet", "q0", 1000)
    for item in running:
        queue.settle(ASKS[item], 10)
    assert [queue.pop(always) for _ in range(2)].count("q0") == 1


def test_a_lost_attempt_goes_before_everybody() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    push(queue, "a", "a0")
    push(queue, "b", "b0")
    queue.resume("lost", 100)
    assert drained(queue) == ["lost", "a0", "b0"]


def test_batch_goes_behind_its_own_tenants_interactive() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    push(queue, "a", "batch", batch=True)
    push(queue, "a", "later", now=BATCH_BEHIND_S - 1)
    push(queue, "a", "much later", now=BATCH_BEHIND_S + 1)
    assert drained(queue) == ["later", "batch", "much later"]


def test_batch_of_one_tenant_is_no_reason_to_wait_for_another() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    push(queue, "a", "a-batch", batch=True)
    for number in range(3):
        push(queue, "b", f"b{number}")
    assert drained(queue).index("a-batch") <= 1


def test_who_does_not_fit_is_passed_over_and_keeps_its_turn() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    push(queue, "a", "large")
    push(queue, "a", "behind it")
    push(queue, "b", "small")

    def small(item: str) -> bool:
        return item != "large"

    assert queue.pop(small) == "behind it"
    assert queue.pop(small) == "small"
    assert queue.pop(small) is None
    assert queue.pop(always) == "large"


def test_a_discarded_request_does_not_come_back_and_costs_nothing() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for item in ("x", "y", "z"):
        push(queue, "a", item)
    push(queue, "b", "b0")
    queue.resume("r", 5)
    for item in ("x", "y", "r", "nobody"):
        queue.discard(item)
    assert len(queue) == 2
    assert drained(queue) == ["z", "b0"]
    assert (len(queue), queue.ahead(Ask("a", 1, 100)).tokens) == (0, 0)


def test_what_is_ahead_of_a_newcomer() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(10):
        push(queue, "flood", f"f{number}", 100, 100)
    push(queue, "small", "s", 50, 300)
    assert queue.ahead(Ask("flood", 1, 100)).tokens == 1050
    assert queue.ahead(Ask("small", 1, 300)).tokens == pytest.approx(50 * 400 / 300)
    assert queue.ahead(Ask("new", 1, 100)).tokens == 0
    expected = Ask("new", 70, 100)
    queue.expect(expected)
    assert queue.ahead(Ask("new", 1, 100)).tokens == 70 * 500 / 100
    queue.arrived(expected)
    assert queue.ahead(Ask("new", 1, 100)) == (0, 0, 5)


def test_tenants_that_are_gone_are_forgotten() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(5 * KEPT):
        push(queue, f"t{number}", "item", 1 + number)
        assert serve(queue) == "item"
    assert len(queue._tenants) <= 2 * KEPT


tenants = st.sampled_from("abc")
shares = {"a": 100, "b": 100, "c": 300}
pushes = st.lists(st.tuples(tenants, st.integers(1, 1000), st.booleans()), max_size=60)


@given(pushes)
def test_everything_comes_out_once_and_in_its_tenants_order(asked: list[tuple[str, int, bool]]) -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    expected: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for number, (tenant, tokens, batch) in enumerate(asked):
        item = f"{tenant}{number}"
        push(queue, tenant, item, tokens, shares[tenant], batch=batch)
        expected[tenant, batch].append(item)
    assert sorted(queue) == sorted(item for order in expected.values() for item in order)
    found = drained(queue)
    assert len(found) == len(asked)
    for order in expected.values():
        assert [item for item in found if item in order] == order


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    st.integers(1, 500),
    st.integers(1, 500),
    st.integers(0, 30),
    st.data(),
)
def test_unfairness_is_bounded(
    first: list[int], second: list[int], one: int, other: int, before: int, data: st.DataObject
) -> None:
    """Of two that wait all the time, whatever a third did before and does meanwhile."""
    queue: ReadyQueue[str] = ReadyQueue()
    tokens: dict[str, int] = {}
    for number in range(before):
        push(queue, "c", f"c{number}", 500)
    for _ in range(before // 2):
        serve(queue)
    for tenant, share, sizes in (("a", one, first), ("b", other, second)):
        for number, size in enumerate(sizes):
            tokens[f"{tenant}{number}"] = size
            push(queue, tenant, f"{tenant}{number}", size, share)
    left = {"a": len(first), "b": len(second)}
    served = {"a": 0.0, "b": 0.0}
    bound = max(first) / one + max(second) / other
    while all(left.values()):
        if data.draw(st.booleans()):
            push(queue, "c", f"c{len(queue)}-{sum(left.values())}", 300)
        item = serve(queue)
        assert item
        if item[0] in left:
            left[item[0]] -= 1
            served[item[0]] += tokens[item] / {"a": one, "b": other}[item[0]]
            assert abs(served["a"] - served["b"]) <= bound + 1e-6


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(1, 1000))
def test_nobody_starves(floods: list[int], wanted: int) -> None:
    """However many others flood, one is served before each of them was served its own size and one more."""
    queue: ReadyQueue[str] = ReadyQueue()
    for number, size in enumerate(floods):
        for turn in range(1 + (wanted + size) // size + 1):
            push(queue, f"flood{number}", f"{number}/{turn}", size)
    push(queue, "one", "wanted", wanted)
    before: dict[str, int] = defaultdict(int)
    while (item := queue.pop(always)) != "wanted":
        assert item is not None
        before[item.split("/")[0]] += 1
    for number in range(len(floods)):
        assert before[str(number)] <= 1


@given(st.integers(1, 9), st.integers(1, 9))
def test_shares_are_kept(one: int, other: int) -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(400):
        push(queue, "a", f"a{number}", 100, one)
        push(queue, "b", f"b{number}", 100, other)
    served = defaultdict(int)
    for _ in range(200):
        served[serve(queue)[0]] += 1
    assert abs(served["a"] - 200 * one / (one + other)) <= 2
