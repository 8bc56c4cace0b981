"""Makes the engine of a manifest: verifies the file, loads it, and proves that it is understood."""

from pathlib import Path
from typing import Literal, NamedTuple

from services.inference.engine import Engine, EngineError, Part, Sampling
from services.inference.engines.llama import LlamaEngine
from services.inference.engines.llama_abi import Llama, LlamaError
from services.inference.engines.synthetic import SyntheticEngine
from services.inference.engines.vocabulary import VocabularyError, read_vocabulary
from shared.models.manifest import Manifest, ManifestError, find_weights, verified_metadata, verify_weights


class Sizes(NamedTuple):
    """What an engine is made for."""

    cells: int
    sequences: int
    batch: int
    threads: int
    gpu_layers: int


class LoadError(Exception):
    """The engine cannot be made; the message is one line for the operator."""


def load_engine(
    kind: Literal["llama", "synthetic"],
    manifest: Manifest,
    sizes: Sizes,
    library: Path | None = None,
    tokens_per_second: float = 0.0,
) -> Engine:
    """Blocks for 0.5 s or more. Raises LoadError."""
    try:
        weights = find_weights(manifest)
        verify_weights(manifest, weights)
        if kind == "synthetic":
            return SyntheticEngine(
                read_vocabulary(verified_metadata(manifest, weights)),
                context=min(manifest.context, sizes.cells),
                cells=sizes.cells,
                sequences=sizes.sequences,
                batch=sizes.batch,
                tokens_per_second=tokens_per_second,
            )
        verified_metadata(manifest, weights)
        return _load_llama(manifest, weights, sizes, library)
    except (ManifestError, LlamaError, VocabularyError) as error:
        raise LoadError(str(error)) from error


def _load_llama(manifest: Manifest, weights: Path, sizes: Sizes, library: Path | None) -> LlamaEngine:
    if manifest.probe is None:
        raise LlamaError(f"model {manifest.name}: its manifest has no probe to check the engine with")
    engine = LlamaEngine(
        Llama(library),
        weights,
        context=min(manifest.context, sizes.cells),
        cells=sizes.cells,
        sequences=sizes.sequences,
        batch=sizes.batch,
        threads=sizes.threads,
        gpu_layers=sizes.gpu_layers,
    )
    part = Part("probe", 0, Sampling(), 0, 0)
    part.ids, part.draws = manifest.probe.ids, True
    try:
        found = engine.step([part])
        engine.remove(0)
    except EngineError as error:
        raise LlamaError(f"model {manifest.name}: {error}") from error
    if found != [manifest.probe.next]:
        raise LlamaError(
            f"model {manifest.name}: after {list(manifest.probe.ids)} the engine says {found}, "
            f"not {manifest.probe.next}: the library is laid out differently, or computes wrongly"
        )
    return engine
