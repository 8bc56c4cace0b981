"""The manifest: what it accepts, and the one line it answers with where it does not."""

import hashlib
import struct
from pathlib import Path

import pytest
import yaml

from shared.models.gguf import GgufError, read_metadata
from shared.models.manifest import (
    ManifestError,
    find_weights,
    load_manifest,
    template_digest,
    tokenizer_digest,
    verified_metadata,
    verify_weights,
)

SHIPPED = Path(__file__).parents[3] / "ops/models/smollm2-135m-instruct.yaml"


def gguf(pairs: dict[str, str | list[str]]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    body = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, value in pairs.items():
        if isinstance(value, str):
            body += text(key) + struct.pack("<I", 8) + text(value)
        else:
            body += text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    return body


METADATA: dict[str, str | list[str]] = {
    "general.name": "tiny",
    "tokenizer.ggml.tokens": ["a", "ไ", "🙂"],
    "tokenizer.chat_template": "{{ messages }}",
}


def write(folder: Path, **changes: object) -> Path:
    weights = folder / "tiny.gguf"
    weights.write_bytes(gguf(METADATA))
    metadata = read_metadata(weights)
    document: dict[str, object] = {
        "name": "tiny",
        "licence": "Apache-2.0",
        "weights": {"path": "tiny.gguf"},
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "tokenizer_sha256": tokenizer_digest(metadata),
        "template_sha256": template_digest("{{ messages }}"),
        "context": 64,
        "default_max_tokens": 16,
        "bound": {"expand": 1, "per_message": 4, "fixed": 2},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**document, **changes}))
    return path


def test_shipped_manifest_is_the_shipped_model() -> None:
    manifest = load_manifest(SHIPPED)
    weights = find_weights(manifest)
    verify_weights(manifest, weights)
    metadata = verified_metadata(manifest, weights)
    tokens = metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    assert len(tokens) == 49_152
    assert metadata["general.license"] == manifest.licence.lower()


def test_a_manifest_of_an_operator(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path))
    path = find_weights(manifest)
    verify_weights(manifest, path)
    assert verified_metadata(manifest, path)["tokenizer.ggml.tokens"] == ["a", "ไ", "🙂"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights_sha256": "0" * 63}, "weights_sha256"),
        ({"licence": ""}, "licence"),
        ({"surprise": 1}, "surprise"),
        ({"weights": {"package": "x"}}, "weights"),
        ({"weights": {"package": "x", "name": "y", "path": "z"}}, "weights"),
        ({"bound": {"expand": 0, "per_message": 1, "fixed": 1}}, "bound.expand"),
        ({"name": "Not A Name"}, "name"),
    ],
)
def test_a_malformed_manifest_names_the_field(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ManifestError, match=words) as refusal:
        load_manifest(write(tmp_path, **changes))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["- a list", "a: [", "\x00"])
def test_what_is_no_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as refusal:
        load_manifest(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"gone\.yaml"):
        load_manifest(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    "weights",
    [{"path": "gone.gguf"}, {"package": "no_such_package", "name": "x"}, {"package": "yaml", "name": "x"}],
)
def test_missing_weights_are_one_line(tmp_path: Path, weights: dict[str, str]) -> None:
    manifest = load_manifest(write(tmp_path, weights=weights))
    with pytest.raises(ManifestError, match=r"not installed|does not exist") as refusal:
        find_weights(manifest)
    assert "\n" not in str(refusal.value)


def test_one_flipped_byte_of_the_weights_is_refused(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path))
    path = find_weights(manifest)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="weights digest"):
        verify_weights(manifest, path)


@pytest.mark.parametrize("part", ["tokenizer", "template"])
def test_another_vocabulary_or_template_is_refused(tmp_path: Path, part: str) -> None:
    manifest = load_manifest(write(tmp_path, **{f"{part}_sha256": "0" * 64}))
    with pytest.raises(ManifestError, match=f"{part} digest"):
        verified_metadata(manifest, find_weights(manifest))


@pytest.mark.parametrize("cut", [0, 3, 10, 30, 60])
def test_a_cut_gguf_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(gguf(METADATA)[:cut])
    with pytest.raises(GgufError, match=r"cut\.gguf"):
        read_metadata(path)


def test_an_absurd_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62))
    with pytest.raises(GgufError, match="length"):
        read_metadata(path)
