"""A model whose ids differ from its engine's is not served."""

import random
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from services.tokenizer.errors import ModelRefused
from services.tokenizer.loading import load_model
from services.tokenizer.model import ServedModel
from services.tokenizer.template import ChatTemplate
from services.tokenizer.verify import SCRIPTS, STRINGS, probe_strings, verify_model
from services.tokenizer.vocabulary import Vocabulary, vocabulary_of_gguf
from shared.models.llama_vocab import LlamaVocab
from shared.models.manifest import Manifest, PromptBound, tokenizer_digest


def served(vocabulary: Vocabulary, metadata: Mapping[str, Any]) -> ServedModel:
    template = ChatTemplate(metadata["tokenizer.chat_template"], vocabulary, random.Random(1))
    bound = PromptBound(expand=1, per_message=16, fixed=128)
    return ServedModel("probe", 4096, 1024, bound, "", "", vocabulary, template)


def test_the_probes_cover_many_scripts_of_assigned_code_points() -> None:
    strings = list(probe_strings())
    assert len(strings) == STRINGS >= 5_000
    assert len(SCRIPTS) >= 20
    assert strings == list(probe_strings())
    letters = {c for text in strings for c in text}
    scripts = {unicodedata.name(c, "?").split()[0] for c in letters if c.isalpha()}
    assert {"LATIN", "ARABIC", "THAI", "CJK", "HANGUL", "TAMIL", "ETHIOPIC", "KHMER", "MYANMAR"} <= scripts
    assert not any(unicodedata.category(c) in ("Cn", "Cs", "Co") for c in letters)


def test_the_default_model_is_verified(model: ServedModel, engine: LlamaVocab) -> None:
    verify_model(model, engine.encode)


@pytest.mark.parametrize("place", [0, 300, 5_000])
def test_a_vocabulary_with_two_merges_swapped_is_refused(
    metadata: Mapping[str, Any], engine: LlamaVocab, place: int
) -> None:
    merges = list(metadata["tokenizer.ggml.merges"])
    merges[place], merges[-1] = merges[-1], merges[place]
    broken = vocabulary_of_gguf({**metadata, "tokenizer.ggml.merges": merges})
    with pytest.raises(ModelRefused, match="the engine's are"):
        verify_model(served(broken, metadata), engine.encode)


def test_a_vocabulary_with_two_tokens_swapped_is_refused(
    metadata: Mapping[str, Any], engine: LlamaVocab
) -> None:
    tokens = list(metadata["tokenizer.ggml.tokens"])
    a, b = tokens.index("Ġthe"), tokens.index("Ġof")
    tokens[a], tokens[b] = tokens[b], tokens[a]
    broken = vocabulary_of_gguf({**metadata, "tokenizer.ggml.tokens": tokens})
    with pytest.raises(ModelRefused):
        verify_model(served(broken, metadata), engine.encode)


def test_other_rules_of_cutting_are_refused(metadata: Mapping[str, Any], engine: LlamaVocab) -> None:
    broken = vocabulary_of_gguf({**metadata, "tokenizer.ggml.pre": "gpt-2"})
    with pytest.raises(ModelRefused):
        verify_model(served(broken, metadata), engine.encode)


def test_an_engine_with_another_template_parse_is_refused(model: ServedModel, engine: LlamaVocab) -> None:
    def deaf(texts: Sequence[bytes], *, parse_special: bool = False) -> list[list[int]]:
        return engine.encode(texts)

    with pytest.raises(ModelRefused, match="in a prompt"):
        verify_model(model, deaf)


def test_a_file_with_another_tokenizer_than_its_manifest_says_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ModelRefused, match="tokenizer digest"):
        load_model(manifest.model_copy(update={"tokenizer_sha256": "0" * 64}), random.Random(1))
    with pytest.raises(ModelRefused, match="template digest"):
        load_model(manifest.model_copy(update={"template_sha256": "0" * 64}), random.Random(1))


def test_the_digest_is_that_of_the_vocabulary_and_nothing_else(
    manifest: Manifest, metadata: Mapping[str, Any]
) -> None:
    assert tokenizer_digest(metadata) == manifest.tokenizer_sha256
    shuffled = dict(reversed(list(metadata.items()))) | {
        "general.name": "other",
        "tokenizer.chat_template": "other",
    }
    assert tokenizer_digest(shuffled) == manifest.tokenizer_sha256
    for key in ("tokens", "merges", "token_type", "pre"):
        value = metadata[f"tokenizer.ggml.{key}"]
        changed = {**metadata, f"tokenizer.ggml.{key}": value[:-1]}
        assert tokenizer_digest(changed) != manifest.tokenizer_sha256
