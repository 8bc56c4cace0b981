"""The pool of cells: exact accounting, sharing within a tenant only, the longest unused given up first."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.inference.cells import BLOCK, NoRoom, Pool


class CellMemory:
    """Real cells: each sequence's positions point to cells, as the device's do."""

    def __init__(self) -> None:
        self.cells: dict[int, list[int]] = {}
        self.made = 0

    def add(self, sequence: int, count: int) -> None:
        held = self.cells.setdefault(sequence, [])
        held.extend(range(self.made, self.made + count))
        self.made += count

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.cells.get(target)
        assert len(self.cells[source]) >= length
        self.cells[target] = self.cells[source][:length]

    def remove(self, sequence: int, start: int = 0) -> None:
        self.cells[sequence] = self.cells.get(sequence, [])[:start]

    def used(self) -> int:
        return len({cell for held in self.cells.values() for cell in held})


def fill(pool: Pool, memory: CellMemory, salt: bytes, ids: list[int]) -> tuple[int, int]:
    lease = pool.open(salt, ids)
    pool.grow(lease.sequence, len(ids) - lease.shared)
    memory.add(lease.sequence, len(ids) - lease.shared)
    pool.publish(lease.sequence, ids)
    return lease.sequence, lease.shared


@pytest.mark.attack(41)
def test_a_tenant_shares_with_itself_and_nobody_else() -> None:
    memory = CellMemory()
    pool = Pool(memory, 1_000, 8)
    ids = list(range(100))
    first, shared = fill(pool, memory, b"a", ids)
    assert shared == 0
    pool.close(first, ids)
    assert fill(pool, memory, b"b", ids)[1] == 0
    assert fill(pool, memory, b"a", ids)[1] == 100 // BLOCK * BLOCK
    assert fill(pool, memory, b"a", [*ids[:50], 7, 7, 7])[1] == 50 // BLOCK * BLOCK
    assert fill(pool, memory, b"a", [9, *ids])[1] == 0


def test_running_sequences_share_what_is_published() -> None:
    memory = CellMemory()
    pool = Pool(memory, 1_000, 8)
    ids = list(range(64))
    fill(pool, memory, b"a", ids)
    used = memory.used()
    assert fill(pool, memory, b"a", [*ids, 1])[1] == 64
    assert memory.used() == used + 1 == 1_000 - pool.free


def test_the_last_id_is_never_shared() -> None:
    memory = CellMemory()
    pool = Pool(memory, 1_000, 8)
    ids = list(range(BLOCK * 2))
    sequence, _ = fill(pool, memory, b"a", ids)
    pool.close(sequence, ids)
    assert fill(pool, memory, b"a", ids)[1] == BLOCK


def test_the_longest_unused_is_given_up_first() -> None:
    memory = CellMemory()
    pool = Pool(memory, BLOCK * 4, 8)
    prompts = {salt: [salt] * BLOCK * 2 for salt in (1, 2)}
    for salt, ids in prompts.items():
        pool.close(fill(pool, memory, bytes([salt]), ids)[0], ids)
    used_again = fill(pool, memory, b"\x01", [*prompts[1][:BLOCK], 5])
    assert used_again[1] == BLOCK
    pool.close(used_again[0], [*prompts[1][:BLOCK], 5])
    fill(pool, memory, b"\x03", [3] * BLOCK * 2)
    assert fill(pool, memory, b"\x02", prompts[2][: BLOCK + 1])[1] == 0


def test_no_room_when_all_runs() -> None:
    memory = CellMemory()
    pool = Pool(memory, 20, 4)
    sequence = pool.open(b"", [1]).sequence
    pool.grow(sequence, 20)
    with pytest.raises(NoRoom):
        pool.grow(sequence, 1)


class AnyOrder(RuleBasedStateMachine):
    """Whatever opens, grows and closes in whatever order, the pool counts what the device holds."""

    @initialize()
    def begin(self) -> None:
        self.memory = CellMemory()
        self.pool = Pool(self.memory, 400, 6)
        self.running: dict[int, list[int]] = {}

    @precondition(lambda self: len(self.running) < 4)
    @rule(
        salt=st.sampled_from([b"a", b"b"]),
        start=st.integers(0, 2),
        length=st.integers(1, 60),
        tail=st.integers(0, 3),
    )
    def open(self, salt: bytes, start: int, length: int, tail: int) -> None:
        ids = [start] * length + [tail]
        sequence, _ = fill(self.pool, self.memory, salt, ids)
        assert len(self.memory.cells[sequence]) == len(ids)
        self.running[sequence] = ids

    @precondition(lambda self: self.running)
    @rule(data=st.data(), count=st.integers(1, 20))
    def grow(self, data: st.DataObject, count: int) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.running)))
        if len(self.running[sequence]) + count > 90:
            return
        self.pool.grow(sequence, count)
        self.memory.add(sequence, count)
        self.running[sequence] += [4] * count

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keep=st.booleans())
    def close(self, data: st.DataObject, keep: bool) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.running)))
        self.pool.close(sequence, self.running.pop(sequence), keep)

    @rule()
    def forget(self) -> None:
        self.pool.clear()
        assert self.memory.used() <= sum(map(len, self.running.values()))

    @invariant()
    def counts(self) -> None:
        assert self.pool.cells - self.pool.free == self.memory.used()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
