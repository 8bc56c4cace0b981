"""Draws an id from one row of logits, by partial selection: the vocabulary is never sorted.

Random numbers are a counter generator keyed by (seed, choice, index): no state is carried from draw to
draw, so any worker continues any sequence with the numbers it would have had.
"""

import hashlib
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.inference.engine import Sampling

Row = NDArray[np.float32]

COLDEST = 1e-5
"""Below, a temperature is 0: its inverse would leave the range of the weights."""
FIRST_SELECTION = 256
"""Candidates that are looked at first for top_p; the selection grows eightfold until they suffice."""

_key = struct.Struct("<QIQ").pack


def uniform(seed: int, choice: int, index: int) -> float:
    """A number in [0, 1) with 53 random bits, the same everywhere for the same key."""
    octets = hashlib.blake2b(_key(seed & 0xFFFF_FFFF_FFFF_FFFF, choice, index), digest_size=8).digest()
    return (int.from_bytes(octets, "little") >> 11) * 2.0**-53


def draw(row: Row, sampling: Sampling, seed: int, choice: int, index: int) -> int:
    """The next id. The row (vocabulary size) is read, not changed.

    The filters apply in the order top_k, top_p, min_p, to probabilities after temperature.
    """
    if sampling.temperature < COLDEST or sampling.top_k == 1:
        return int(np.argmax(row))
    chance = uniform(seed, choice, index)
    size = row.shape[0]
    if 0 < sampling.top_k < size:
        ids, weights = _largest(row, sampling.top_k, sampling.temperature)
        return _pick(ids, weights, float(weights.sum()), sampling, chance)
    weights = np.exp((row - row.max()) * np.float32(1.0 / sampling.temperature))
    total = float(weights.sum(dtype=np.float64))
    if sampling.top_p >= 1.0 and sampling.min_p <= 0.0:
        return _inverse(weights, chance)
    return _nucleus(row, weights, total, sampling, chance)


def _nucleus(row: Row, weights: Row, total: float, sampling: Sampling, chance: float) -> int:
    """As `_pick` over the whole vocabulary, of which only as much is sorted as the filters keep."""
    count = min(FIRST_SELECTION, row.shape[0])
    while True:
        ids, _ = _largest(row, count, 1.0)
        selected = weights[ids]
        enough = float(selected.sum(dtype=np.float64)) >= sampling.top_p * total
        below = sampling.min_p > 0.0 and float(selected[-1]) < sampling.min_p
        if enough or below or count == row.shape[0]:
            return _pick(ids, selected, total, sampling, chance)
        count = min(count * 8, row.shape[0])


def _largest(row: Row, count: int, temperature: float) -> tuple[NDArray[Any], Row]:
    """The ids of the `count` largest, largest first, and their weights (the largest has 1)."""
    size = row.shape[0]
    ids = np.argpartition(row, size - count)[size - count :] if count < size else np.arange(size)
    ids = ids[np.lexsort((ids, -row[ids]))]
    values = row[ids]
    return ids, np.exp((values - values[0]) * np.float32(1.0 / temperature))


def _pick(ids: NDArray[Any], weights: Row, total: float, sampling: Sampling, chance: float) -> int:
    """Draw from sorted candidates after top_p and min_p; `total` is the weight of all that count."""
    kept = weights.shape[0]
    if sampling.top_p < 1.0:
        sums = np.cumsum(weights, dtype=np.float64)
        kept = min(kept, int(np.searchsorted(sums, sampling.top_p * total)) + 1)
    if sampling.min_p > 0.0:
        kept = min(kept, int(np.count_nonzero(weights >= sampling.min_p)))
    kept = max(kept, 1)
    return int(ids[_inverse(weights[:kept], chance)])


def _inverse(weights: Row, chance: float) -> int:
    """The place where the running sum of the weights passes `chance` of their total."""
    sums = np.cumsum(weights, dtype=np.float64)
    place = int(np.searchsorted(sums, chance * sums[-1], side="right"))
    return min(place, len(weights) - 1)
