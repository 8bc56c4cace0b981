"""The engine's vocabulary: what cannot be used is refused in one line, never guessed."""

import _ctypes
from pathlib import Path

import pytest

from shared.models import llama_vocab
from shared.models.llama_vocab import LlamaLibraryError, LlamaVocab
from shared.models.manifest import Manifest, find_weights


def test_control_tokens_are_matched_only_where_asked(engine: LlamaVocab) -> None:
    text = b"<|im_start|>user"
    assert len(engine) == 49_152
    assert engine.encode([text], parse_special=True)[0][0] == 1
    assert 1 not in engine.encode([text])[0]
    assert engine.encode([b""]) == [[]]


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    for path in (broken, tmp_path / "none.gguf"):
        with pytest.raises(LlamaLibraryError, match=path.name):
            LlamaVocab(path)
    assert capfd.readouterr().err == ""


def test_a_library_that_is_not_llama_cpp_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    for path in (tmp_path / "none.so", Path(_ctypes.__file__)):
        with pytest.raises(LlamaLibraryError, match=path.name):
            LlamaVocab(find_weights(manifest), path)


def test_a_library_of_another_build_is_refused(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a field had been put before `split_mode`: every later default is then another one."""
    shifted = llama_vocab.DECLARATIONS.replace(
        "    int32_t split_mode;", "    int32_t added;\n    int32_t split_mode;"
    )
    monkeypatch.setattr(llama_vocab, "DECLARATIONS", shifted)
    with pytest.raises(LlamaLibraryError, match="another build"):
        LlamaVocab(find_weights(manifest))


def test_closing_twice_does_no_harm(manifest: Manifest) -> None:
    vocab = LlamaVocab(find_weights(manifest))
    vocab.close()
    vocab.close()
