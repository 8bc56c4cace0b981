"""How long OpenMP threads spin for each other before they sleep."""

from __future__ import annotations

import os

SPIN_COUNT = "1000"
"""A few microseconds: as fast as the default on a machine of its own, and where another process wants a
core a step costs little more, not a time slice for each layer (seen here: 96 instead of 21 tokens/s)."""


def limit_spinning() -> None:
    """To be called before llama.cpp's library is loaded, which reads this once; an operator's value stays."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
