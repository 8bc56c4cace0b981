"""The garbage collector, told what will live as long as the process."""

from __future__ import annotations

import gc

GARBAGE = 20_000
"""Objects that are made before the youngest are looked at: a request in flight makes about a thousand."""


def settle_memory() -> None:
    """Keep the garbage collector off what the start has made: vocabularies, schemas, modules.

    A collection of all of it holds up every request in flight for a tenth of a second and more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 50)
