"""The default model, as it is served, and its engine's own vocabulary."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.tokenizer.loading import load_model
from services.tokenizer.model import ServedModel
from shared.models.gguf import read_metadata
from shared.models.llama_vocab import LlamaVocab
from shared.models.manifest import Manifest, find_weights, load_manifest

MANIFEST = Path(__file__).parents[3] / "ops" / "models" / "smollm2-135m-instruct.yaml"


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return load_manifest(MANIFEST)


@pytest.fixture(scope="session")
def model(manifest: Manifest) -> ServedModel:
    return load_model(manifest, random.Random(1))


@pytest.fixture(scope="session")
def metadata(manifest: Manifest) -> Mapping[str, Any]:
    return read_metadata(find_weights(manifest))


@pytest.fixture(scope="session")
def engine(manifest: Manifest) -> Iterator[LlamaVocab]:
    vocab = LlamaVocab(find_weights(manifest))
    yield vocab
    vocab.close()
