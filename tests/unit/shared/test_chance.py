"""The system's randomness: right sizes, no byte twice, no state."""

from __future__ import annotations

import copy
import threading

import pytest

from shared.chance import POOL_BYTES, SystemChance


@pytest.mark.parametrize("bits", [1, 7, 8, 53, 62, 64, 128, 1000])
def test_values_have_the_asked_size_and_use_all_of_it(bits: int) -> None:
    chance = SystemChance()
    drawn = [chance.getrandbits(bits) for _ in range(200)]
    assert max(drawn).bit_length() <= bits
    assert all(any(value >> bit & 1 for value in drawn) for bit in range(bits))


@pytest.mark.parametrize("size", [0, 1, 16, POOL_BYTES, POOL_BYTES + 1])
def test_bytes_have_the_asked_length(size: int) -> None:
    assert len(SystemChance().randbytes(size)) == size


def test_threads_never_get_the_same_bytes() -> None:
    chance, drawn = SystemChance(), []

    def draw() -> None:
        mine = [chance.randbytes(16) for _ in range(5_000)]
        drawn.extend(mine)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 20_000


def test_there_is_no_state_to_copy() -> None:
    with pytest.raises(TypeError):
        copy.copy(SystemChance()).getstate()


def test_derived_draws_lie_in_their_range() -> None:
    chance = SystemChance()
    assert {chance.randrange(5) for _ in range(500)} == set(range(5))
    assert all(0 <= chance.random() < 1 for _ in range(1000))
