"""Under which manifest answers are given."""

from __future__ import annotations

import hashlib
from typing import Literal

from shared.models.manifest import Manifest

SYNTHETIC_DIGEST = hashlib.sha256(b"freehold synthetic engine 1").hexdigest()
"""What answers of the synthetic engine name as their weights: no model made them."""


def as_served(kind: Literal["llama", "synthetic"], manifest: Manifest) -> Manifest:
    """The manifest that answers are given under: the synthetic engine reads no weights and claims none."""
    if kind == "llama":
        return manifest
    return manifest.model_copy(update={"weights_sha256": SYNTHETIC_DIGEST})
