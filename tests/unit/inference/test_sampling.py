"""Drawing ids: the same draws as a full sort would give, and random numbers that can be continued."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.inference.engine import Sampling
from services.inference.engines.sampling import draw, uniform

VOCABULARY = 3_000


def row(seed: int, scale: float = 4.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(VOCABULARY) * scale).astype(np.float32)


def kept_by_full_sort(logits: NDArray[np.float32], rules: Sampling) -> dict[int, float]:
    """Probabilities by the definition: sort everything, filter, normalise."""
    weights = np.exp((logits - logits.max()).astype(np.float64) / rules.temperature)
    order = np.argsort(-logits, kind="stable")
    if rules.top_k:
        order = order[: rules.top_k]
    total = weights[order].sum()
    kept: list[int] = []
    running = 0.0
    for token in order:
        if running >= rules.top_p * total and kept:
            break
        if weights[token] < rules.min_p and kept:
            break
        kept.append(int(token))
        running += weights[token]
    norm = sum(weights[token] for token in kept)
    return {token: float(weights[token] / norm) for token in kept}


@pytest.mark.parametrize(
    "rules", [Sampling(), Sampling(temperature=1.0, top_k=1), Sampling(temperature=1e-9)]
)
def test_greedy_takes_the_largest(rules: Sampling) -> None:
    logits = row(1)
    assert draw(logits, rules, 7, 0, 0) == int(np.argmax(logits))


@given(
    st.integers(0, 50),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.sampled_from([0, 2, 40, 5_000]),
    st.sampled_from([0.1, 0.5, 0.9, 0.999, 1.0]),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.integers(0, 2**64 - 1),
)
def test_a_draw_is_one_that_the_filters_keep(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float, key: int
) -> None:
    rules = Sampling(temperature, top_k, top_p, min_p)
    logits = row(seed)
    before = logits.copy()
    token = draw(logits, rules, key, 0, 3)
    # One more candidate on either side of a border is a matter of float sums.
    wider = Sampling(temperature, top_k, min(1.0, top_p * 1.0001), min_p * 0.9999)
    assert token in kept_by_full_sort(logits, wider)
    assert (logits == before).all()


@pytest.mark.parametrize(
    "rules",
    [
        Sampling(1.0),
        Sampling(0.7, top_k=5),
        Sampling(1.0, top_p=0.8),
        Sampling(1.0, min_p=0.2),
        Sampling(0.9, top_k=40, top_p=0.9, min_p=0.01),
    ],
)
def test_frequencies_are_the_probabilities(rules: Sampling) -> None:
    logits = row(3, scale=3.0)
    expected = kept_by_full_sort(logits, rules)
    draws = 4_000
    counts: dict[int, int] = {}
    for index in range(draws):
        token = draw(logits, rules, 11, 0, index)
        counts[token] = counts.get(token, 0) + 1
    distance = sum(abs(counts.get(token, 0) / draws - p) for token, p in expected.items()) / 2
    assert set(counts) <= set(expected)
    assert distance < 0.02 + 0.5 * (len(expected) / draws) ** 0.5


def test_numbers_are_keyed_by_seed_choice_and_index() -> None:
    keys = [(s, c, i) for s in (0, 1, 2**64 - 1) for c in (0, 1) for i in (0, 1, 1_000_000)]
    numbers = [uniform(*key) for key in keys]
    assert len(set(numbers)) == len(keys)
    assert all(0.0 <= number < 1.0 for number in numbers)
    assert numbers == [uniform(*key) for key in keys]
    assert uniform(1, 0, 0) == 0.997537786935212  # the same on every machine and in every version


def test_a_resumed_stream_continues_the_same_numbers() -> None:
    rules = Sampling(1.0, top_p=0.9)
    logits = row(5)
    whole = [draw(logits, rules, 42, 0, index) for index in range(20)]
    assert [draw(logits, rules, 42, 0, index) for index in range(12, 20)] == whole[12:]
    assert [draw(logits, rules, 42, 1, index) for index in range(20)] != whole
