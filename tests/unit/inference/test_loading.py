"""An engine that does not fit its manifest or its declarations is refused in one line."""

import ctypes.util
from pathlib import Path

import pytest

from services.inference.engines import llama_abi
from services.inference.engines.llama_abi import Llama, LlamaError
from services.inference.engines.loading import LoadError, Sizes, load_engine
from services.inference.engines.vocabulary import VocabularyError, read_vocabulary
from shared.models.manifest import Manifest, Probe, WeightsFile, load_manifest

MANIFEST = load_manifest(Path(__file__).parents[3] / "ops/models/smollm2-135m-instruct.yaml")
SIZES = Sizes(cells=256, sequences=2, batch=32, threads=1, gpu_layers=0)


def refusal(manifest: Manifest) -> str:
    with pytest.raises(LoadError) as caught:
        load_engine("llama", manifest, SIZES).close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_digest_is_refused() -> None:
    assert "weights digest" in refusal(MANIFEST.model_copy(update={"weights_sha256": "0" * 64}))


def test_missing_weights_are_refused() -> None:
    nowhere = WeightsFile(path=Path("/nowhere/model.gguf"))
    assert "/nowhere/model.gguf does not exist" in refusal(MANIFEST.model_copy(update={"weights": nowhere}))


def test_an_engine_that_says_something_else_is_refused() -> None:
    other = Probe(ids=(1, 9690), next=199)
    assert "not 199" in refusal(MANIFEST.model_copy(update={"probe": other}))


def test_a_manifest_without_probe_is_refused_by_native_code_only() -> None:
    bare = MANIFEST.model_copy(update={"probe": None})
    assert "no probe" in refusal(bare)
    load_engine("synthetic", bare, SIZES).close()


def test_the_context_is_never_more_than_the_pool() -> None:
    engine = load_engine("synthetic", MANIFEST, SIZES)
    assert engine.capabilities.context == 256
    engine.close()


def test_a_library_that_is_not_llama_is_refused() -> None:
    name = ctypes.util.find_library("m")
    assert name is not None
    with pytest.raises(LlamaError, match=r"not llama\.cpp"):
        Llama(Path(name))


def test_a_library_with_other_structs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(llama_abi.CONTEXT_DEFAULTS, "n_ubatch", 513)
    with pytest.raises(LlamaError, match=r"n_ubatch is 512, not 513"):
        Llama()


def test_another_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_abi, "WHEEL_VERSION", "2026.1.1")
    with pytest.raises(LlamaError, match=r"2026\.10\.11549"):
        Llama()


def test_a_missing_wheel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_abi, "WHEEL", "no-such-wheel")
    with pytest.raises(LlamaError, match="not installed"):
        Llama()


def test_another_kind_of_vocabulary_is_refused() -> None:
    with pytest.raises(VocabularyError, match="byte-level"):
        read_vocabulary({"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": [], "x": 1})


def test_kinds_of_tokens() -> None:
    vocabulary = read_vocabulary(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": ["Ġhi", "<|im_end|>", "<tool>", "à¸"],
            "tokenizer.ggml.token_type": [1, 3, 4, 1],
            "tokenizer.ggml.eos_token_id": 1,
        }
    )
    assert vocabulary.pieces == (b" hi", b"", b"<tool>", b"\xe0\xb8")
    assert vocabulary.end == {1}
