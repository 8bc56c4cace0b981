"""From a manifest to a served model: digests first, then the engine's own ids."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from services.tokenizer.errors import ModelRefused
from services.tokenizer.model import ServedModel
from services.tokenizer.template import ChatTemplate
from services.tokenizer.verify import verify_model
from services.tokenizer.vocabulary import vocabulary_of_gguf, vocabulary_of_json
from shared.models.llama_vocab import LlamaLibraryError, LlamaVocab
from shared.models.manifest import Manifest, ManifestError, find_weights, verified_metadata


def load_model(
    manifest: Manifest, chance: random.Random, library: Path | None = None, tokenizer_json: Path | None = None
) -> ServedModel:
    """A model whose digests are the manifest's and whose ids are the engine's. Takes about a second.

    `library`: llama.cpp's, None = the wheel's. `tokenizer_json`: used in place of the GGUF's metadata,
    for vocabularies that cannot be built from those. Raises ModelRefused.
    """
    try:
        path = find_weights(manifest)
        metadata = verified_metadata(manifest, path)
        if tokenizer_json is None:
            vocabulary = vocabulary_of_gguf(metadata)
        else:
            document = tokenizer_json.read_text(encoding="utf-8")
            vocabulary = vocabulary_of_json(document, _outer(metadata, "bos"), _outer(metadata, "eos"))
    except (ManifestError, OSError, UnicodeDecodeError) as error:
        raise ModelRefused(str(error)) from error
    template = ChatTemplate(str(metadata.get("tokenizer.chat_template", "")), vocabulary, chance)
    model = ServedModel(
        name=manifest.name,
        context=manifest.context,
        default_output=manifest.default_max_tokens,
        bound=manifest.bound,
        tokenizer_digest=manifest.tokenizer_sha256,
        template_digest=manifest.template_sha256,
        vocabulary=vocabulary,
        template=template,
    )
    verify_with_engine(model, path, library)
    return model


def verify_with_engine(model: ServedModel, weights: Path, library: Path | None = None) -> None:
    """Compare with the vocabulary in the weights' own file. Raises ModelRefused."""
    try:
        with closing(LlamaVocab(weights, library)) as engine:
            verify_model(model, engine.encode)
    except LlamaLibraryError as error:
        raise ModelRefused(f"model {model.name}: {error}") from error


def _outer(metadata: Mapping[str, Any], which: str) -> str:
    """The text of the begin or end token that the GGUF names; empty for none."""
    token = metadata.get(f"tokenizer.ggml.{which}_token_id")
    return "" if token is None else str(metadata["tokenizer.ggml.tokens"][token])
