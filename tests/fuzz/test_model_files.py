"""What an operator gives for a model: weights, manifest, vocabulary, template. Whatever stands in them is
read in bounded memory, or refused in one clear line.
"""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tokenizer.errors import ModelRefused, PromptRefused
from services.tokenizer.template import ChatTemplate, Turn
from services.tokenizer.vocabulary import Vocabulary, vocabulary_of_gguf, vocabulary_of_json
from shared.models.gguf import GgufError, Value, read_metadata
from shared.models.manifest import Manifest, ManifestError, load_manifest
from tests.fuzz.conftest import CHANCES, examples
from tests.fuzz.mutations import damaged

MANIFEST = Path(__file__).parents[2] / "ops" / "models" / "smollm2-135m-instruct.yaml"
HEAD = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
MOST_MEMORY = 400 << 20
"""Eight million numbers, the most that the reader takes of a list, are 320 MB."""


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(**pairs: bytes) -> bytes:
    """A file of these values, each with its type's number before it."""
    body = b"".join(text(name) + value for name, value in pairs.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + body


VALUES = {
    "string": struct.pack("<I", 8) + text("llama"),
    "number": struct.pack("<II", 4, 7),
    "truth": struct.pack("<IB", 7, 1),
    "share": struct.pack("<If", 6, 0.5),
    "texts": struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
    "numbers": struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3),
    "nested": struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ2B", 0, 2, 8, 9),
}
VALID = gguf(**VALUES)


def refused(error: Exception) -> None:
    """Fail unless it is one line."""
    assert "\n" not in str(error)


def read(folder: Path, data: bytes) -> Mapping[str, Value] | None:
    """The metadata; None where the file was refused in one line."""
    path = folder / "model.gguf"
    path.write_bytes(data)
    try:
        return read_metadata(path)
    except GgufError as error:
        return refused(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


@examples(400)
@given(chance=CHANCES)
def test_any_gguf_is_read_or_refused(folder: Path, chance: random.Random) -> None:
    read(folder, damaged(chance, VALID))


@examples(200)
@given(data=st.binary(max_size=200))
def test_any_bytes_behind_a_head_are_read_or_refused(folder: Path, data: bytes) -> None:
    read(folder, HEAD + data)


@pytest.mark.parametrize(
    "data",
    [
        gguf(deep=struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000),
        gguf(many=struct.pack("<IIQ", 9, 10, 1 << 62)),
        gguf(many=struct.pack("<IIQ", 9, 10, 8_000_000)),
        gguf(long=struct.pack("<IQ", 8, 1 << 63)),
        gguf(cut=struct.pack("<IQ", 8, 100) + b"short"),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * (text("twice") + VALUES["number"]),
        b"GGUF" + struct.pack("<I", 3),
        b"",
    ],
    ids=[
        "deep",
        "2^62 numbers",
        "8 M numbers",
        "2^63 bytes",
        "cut",
        "2^60 pairs",
        "twice",
        "no counts",
        "empty",
    ],
)
def test_files_that_claim_much_are_refused_in_little_memory(folder: Path, data: bytes) -> None:
    tracemalloc.start()
    try:
        assert read(folder, data) is None
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


VOCABULARY: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<|im_start|>", "<|im_end|>", *"abcdefgh", "ab", "cd"],
    "tokenizer.ggml.token_type": [3, 3, *([1] * 10)],
    "tokenizer.ggml.merges": ["a b", "c d"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 1,
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 1 << 64),
    st.floats(),
    st.text(max_size=5),
    st.lists(
        st.one_of(st.integers(-5, 20), st.text(max_size=3), st.lists(st.integers(), max_size=2)), max_size=14
    ),
)


@examples(300)
@given(changes=st.dictionaries(st.sampled_from(sorted(VOCABULARY)), ODD, min_size=1, max_size=3))
def test_any_vocabulary_is_taken_or_refused(changes: dict[str, Any]) -> None:
    try:
        found = vocabulary_of_gguf({**VOCABULARY, **changes})
    except ModelRefused:
        return
    assert found.decode(found.encode(["abcd"])[0]) is not None


@examples(200)
@given(
    document=st.recursive(
        ODD,
        lambda inner: st.dictionaries(
            st.sampled_from(["model", "vocab", "added_tokens", "type", "merges", "content", "id", "special"]),
            inner,
            max_size=4,
        ),
    )
)
def test_any_tokenizer_json_is_taken_or_refused(document: Any) -> None:
    try:
        vocabulary_of_json(json.dumps(document))
    except ModelRefused:
        return


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return vocabulary_of_gguf(VOCABULARY)


PIECES = st.sampled_from(
    [
        "{% for m in messages %}",
        "{% endfor %}",
        "{% if m.role == 'user' %}",
        "{% else %}",
        "{% endif %}",
        "{{ m.content }}",
        "{{ m['content'] | trim }}",
        "{{ '<|im_start|>' + m['role'] }}",
        "{{ messages | tojson }}",
        "{{ raise_exception('no') }}",
        "{{ ''.__class__ }}",
        "{{ bos_token * 10 }}",
        "{{ 1 / 0 }}",
        "{% set x = messages[-1] %}",
        "{{ x.content[5] }}",
        "{% break %}",
        "{{ range(10) | list }}",
        "{{ loop.index }}",
        "<|im_end|>\n",
        "text",
        "{{",
        "%}",
    ]
)


@examples(80)
@given(pieces=st.lists(PIECES, max_size=8), content=st.text(max_size=20))
def test_any_template_is_followed_or_refused(vocabulary: Vocabulary, pieces: list[str], content: str) -> None:
    try:
        template = ChatTemplate("".join(pieces), vocabulary, random.Random(1))
        prompt = template.render([Turn("user", content), Turn("assistant", "b")])
    except (ModelRefused, PromptRefused):
        return
    assert all(isinstance(part, str) or part in vocabulary.controls.values() for part in prompt)


@pytest.mark.attack(30, 32)
@pytest.mark.parametrize(
    "source",
    [
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% for a in messages %}" * 30 + "{% endfor %}" * 30,
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ 'a' * 10000000000000 }}",
        "{{ range(100000000) | list }}",
        "{{ 9" + "9" * 5000 + " }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
    ],
    ids=["recursion", "30 loops", "3000 brackets", "10 TB", "range", "5000 digits", "escape", "mutation"],
)
def test_templates_that_break_the_renderer_are_refused(vocabulary: Vocabulary, source: str) -> None:
    with pytest.raises((ModelRefused, PromptRefused)):
        ChatTemplate(source, vocabulary, random.Random(1)).render([Turn("user", "a")])


def manifest(folder: Path, content: bytes) -> Manifest | None:
    """The manifest; None where it was refused in one line."""
    path = folder / "model.yaml"
    path.write_bytes(content)
    try:
        return load_manifest(path)
    except ManifestError as error:
        return refused(error)


@examples(300)
@given(chance=CHANCES)
def test_any_manifest_is_read_or_refused(folder: Path, chance: random.Random) -> None:
    manifest(folder, damaged(chance, MANIFEST.read_bytes()))


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10_000,
        b"a: " * 5_000,
        b"name: 2001-99-99",
        b"context: " + b"9" * 5_000,
        b"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nname: *c",
        b"? [a]\n: b",
        b"!!python/object/apply:os.system ['true']",
        b"\xff\xfe",
        b"name: \x00",
        b"",
    ],
)
def test_manifests_that_break_readers_are_refused(folder: Path, content: bytes) -> None:
    assert manifest(folder, content) is None
