"""Draws an id from one row of logits, by partial selection: the vocabulary is never sorted.

Random numbers are a counter generator keyed by (seed, choice, index): no state is carried from draw to
draw, so any worker continues any sequence with the numbers it would have had.
"""

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from services.inference.engine import Sampling

Row = NDArray[np.float32]
Places = NDArray[np.intp]

COLDEST = 1e-5
"""Below, a temperature is 0: its inverse would leave the range of the weights."""
NEGLIGIBLE = 30.0
"""Logits this many temperatures under the largest are left out: all of them together weigh less than
2e-8 of it in a vocabulary of 200,000, under the precision of the logits."""
FIRST_SPAN = 6.0
FIRST_WEIGHT = 1e-3
"""Where the search for the largest begins, in logits and in weight; it goes on until enough are found."""
BLOCK = 256

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
    top = row.max()
    scale = np.float32(1.0 / sampling.temperature)
    chance = uniform(seed, choice, index)
    if not sampling.top_k and sampling.top_p >= 1.0 and sampling.min_p <= 0.0:
        return _inverse(np.exp((row - top) * scale), chance)
    ids = np.flatnonzero(row >= top - np.float32(NEGLIGIBLE * sampling.temperature))
    if 0 < sampling.top_k < len(ids):
        ids = _largest(row, top, ids, sampling.top_k)
    weights = np.exp((row[ids] - top) * scale)
    if sampling.top_p < 1.0:
        kept = _nucleus(weights, sampling.top_p)
        ids, weights = ids[kept], weights[kept]
    if sampling.min_p > 0.0:
        kept = np.flatnonzero(weights >= sampling.min_p)
        ids, weights = ids[kept], weights[kept]
    return int(ids[_inverse(weights, chance)])


def _largest(row: Row, top: np.float32, ids: Places, count: int) -> Places:
    """The `count` of `ids` with the largest logits, in order of id. There are more than `count` of them."""
    values = row[ids]
    span = np.float32(FIRST_SPAN)
    while len(near := np.flatnonzero(values >= top - span)) < count:
        span *= 2
    if len(near) > count:
        near = near[np.argpartition(values[near], len(near) - count)[len(near) - count :]]
        near.sort()
    return ids[near]


def _nucleus(weights: Row, share: float) -> Places:
    """The fewest places whose weights reach `share` of the total, the largest first."""
    goal = share * float(weights.sum())
    least = FIRST_WEIGHT
    while float(weights[near := np.flatnonzero(weights >= least)].sum()) < goal and len(near) < len(weights):
        least /= 32
    order = near[np.argsort(-weights[near], kind="stable")]
    sums = np.cumsum(weights[order], dtype=np.float64)
    return order[: int(np.searchsorted(sums, goal)) + 1]


def _inverse(weights: Row, chance: float) -> int:
    """The place where the running sum of the weights passes `chance` of their total.

    Summed by blocks first: a running sum over a whole vocabulary costs ten times as much.
    """
    starts = np.arange(0, len(weights), BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    goal = chance * sums[-1]
    block = min(int(np.searchsorted(sums, goal, side="right")), len(starts) - 1)
    begin = block * BLOCK
    inside = np.cumsum(weights[begin : begin + BLOCK], dtype=np.float64)
    left = goal - (sums[block - 1] if block else 0.0)
    return begin + min(int(np.searchsorted(inside, left, side="right")), len(inside) - 1)
