"""What all worlds share and none changes: the model, the words that it speaks, the policy, who may ask.

Loaded once a process. Verifying digests, reading the vocabulary and compiling the pack take seconds; the
services' own code does it, behind a memory.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from services.cli.offer import offered_model
from services.inference import app as inference_app
from services.inference.engine import Engine, Part
from services.inference.engines.loading import load_engine
from services.inference.engines.synthetic import SyntheticEngine
from services.inference.served import as_served
from services.moderation import packs
from services.moderation.matching.pack import load_pack
from services.tokenizer import app as tokenizer_app
from services.tokenizer.loading import load_model
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.models.manifest import load_manifest

MANIFEST_PATH = Path(__file__).parents[2] / "ops" / "models" / "smollm2-135m-instruct.yaml"
WORDS = (" river", " stone", " copper", " moon", " garden", " paper", " winter", " music")
REFUSED = ("river", "stone")
REDACTED = ("copper", "moon")
LABEL = "[metal]"
PACK = """
pack: sim
version: 1
window: 64
rules:
  - id: sim.refuse
    category: test
    action: refuse
    direction: both
    legal_basis: test
    description: two words in a row, so that a match spans ids
    words: [river stone]
  - id: sim.redact
    category: test
    action: redact
    direction: both
    legal_basis: test
    label: metal
    description: two words in a row
    words: [copper moon]
"""
PRICES = {"prompt": 100_000, "cached": 25_000, "output": 400_000}
CURRENCY = "USD"
PEPPERS = {1: b"p" * 32}


@cache
def manifest() -> Any:
    """The served model, as the synthetic engine serves it."""
    return as_served("synthetic", load_manifest(MANIFEST_PATH))


@cache
def vocabulary() -> Any:
    """The real model's."""
    sizes = inference_app.plan(inference_app.InferenceSettings(engine="synthetic")).sizes
    return load_engine("synthetic", load_manifest(MANIFEST_PATH), sizes).vocabulary


@cache
def word_ids() -> tuple[int, ...]:
    """Ids of the words that the engine speaks."""
    pieces = {piece: number for number, piece in enumerate(vocabulary().pieces)}
    return tuple(pieces[word.encode()] for word in WORDS)


def spoken(seed: int, choice: int, count: int) -> str:
    """The words that the engine says, from (seed, choice, index) alone; written apart from the engine."""
    words = []
    for index in range(count):
        mixed = (seed + (index + 1) * 0x9E3779B97F4A7C15 + choice * 0xD1B54A32D192ED03) % (1 << 64)
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % (1 << 64)
        words.append(WORDS[(mixed ^ (mixed >> 31)) % len(WORDS)])
    return "".join(words)


def allowed(text: str) -> tuple[str, bool]:
    """What of a whole answer may be read, redacted, and whether the rest is refused."""
    found = re.search(r"\briver stone\b", text)
    kept = text[: found.start()] if found else text
    return re.sub(r"\bcopper moon\b", LABEL, kept), found is not None


class Truth:
    """What engines really did."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, int, int], list[int]] = {}
        """Ids drawn, by request, attempt and choice."""
        self.starts: dict[tuple[str, int, int], int] = {}
        """Index of the first of them."""
        self.shared: list[str] = []
        """What must not have happened."""

    def draw(self, request: str, attempt: int, choice: int, index: int, token: int) -> None:
        """An id was drawn."""
        key = (request, attempt, choice)
        start = self.starts.setdefault(key, index)
        held = self.ids.setdefault(key, [])
        if index != start + len(held):
            self.shared.append(f"request {request}, attempt {attempt}: index {index} was drawn out of order")
        held.append(token)

    def drawn(self, request: str, attempt: int) -> int:
        """How many ids an attempt drew in all."""
        return sum(
            len(ids) for (of, number, _), ids in self.ids.items() if (of, number) == (request, attempt)
        )


class WatchedEngine:
    """The synthetic engine, and what it really did: ids drawn, and whose cells were shared."""

    def __init__(self, inner: Engine, truth: Truth, own: int) -> None:
        """`own` is this worker's alone."""
        self._inner = inner
        self.capabilities = inner.capabilities
        self.vocabulary = inner.vocabulary
        self._truth = truth
        self._own = own
        self._tenants: dict[int, str] = {}
        """Whose tokens each sequence holds."""

    def step(self, parts: Sequence[Part]) -> list[int]:
        """See the port. From its second attempt on a request gets other words than the first would have
        had, as between real engines: so what is spliced wrongly cannot look right.
        """
        seeds = [part.seed for part in parts]
        for part in parts:
            attempt = part.key.attempt  # type: ignore[attr-defined]
            if attempt.envelope.attempt > 1:
                part.seed = (part.seed ^ self._own) & ((1 << 64) - 1)
            tenant = attempt.envelope.tenant
            if part.position and self._tenants.get(part.sequence, tenant) != tenant:
                self._truth.shared.append(
                    f"cells of {self._tenants[part.sequence]} were shared with {tenant}"
                )
            self._tenants[part.sequence] = tenant
        ids = self._inner.step(parts)
        drawn = iter(ids)
        for part, seed in zip(parts, seeds, strict=True):
            part.seed = seed
            if part.draws:
                request, attempt = part.key.attempt.key  # type: ignore[attr-defined]
                self._truth.draw(request, attempt, part.choice, part.index, next(drawn))
        return ids

    def copy(self, source: int, target: int, length: int) -> None:
        """See the port."""
        self._inner.copy(source, target, length)
        self._tenants[target] = self._tenants.get(source, "")

    def remove(self, sequence: int, start: int = 0) -> None:
        """See the port."""
        self._inner.remove(sequence, start)
        if start == 0:
            self._tenants.pop(sequence, None)

    def close(self) -> None:
        """See the port."""
        self._inner.close()


def make_engine(pace: float) -> SyntheticEngine:
    """A worker's engine, with little room: requests may have to wait."""
    return SyntheticEngine(
        vocabulary(),
        context=512,
        cells=4096,
        sequences=12,
        batch=64,
        tokens_per_second=pace,
        words=word_ids(),
    )


@cache
def pack_version() -> str:
    """With the digest of its text."""
    return load_pack(PACK).version


def load() -> None:
    """Load all, and let the services find it loaded."""
    manifest()
    model = load_model(load_manifest(MANIFEST_PATH), random.Random(0))
    compiled = packs._compile("sim", pack_version(), PACK)
    word_ids()
    blank = make_engine(0.0)
    tokenizer_app.load_model = lambda *_: model
    inference_app.load_engine = lambda *_: blank  # replaced by `around`
    packs._compile = lambda *_: compiled


def values() -> list[Any]:
    """What is configured, in the order in which it must be put."""
    found: list[Any] = [
        pb.Policy(id="sim", pack=PACK, version=pack_version()),
        offered_model("synthetic", load_manifest(MANIFEST_PATH)),
    ]
    for name in ("north", "south"):
        found.append(
            pb.Organisation(id=name, name=name, time_zone="UTC", currency=CURRENCY, policies=["sim"])
        )
        found.append(pb.Project(id=f"{name}-project", organisation=name, name=name))
    found.append(pb.Price(model=manifest().name, currency=CURRENCY, version="1", **PRICES))
    found.append(
        pb.Budget(
            level=pb.LEVEL_ORGANISATION,
            id="north",
            organisation="north",
            currency=CURRENCY,
            limit=75_000,
            period=pb.PERIOD_MONTH,
        )
    )
    return found


def fingerprint(text: str) -> bytes:
    """As of a body."""
    return hashlib.sha256(text.encode()).digest()
