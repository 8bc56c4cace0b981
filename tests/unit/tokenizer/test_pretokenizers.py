"""Each rule of cutting equals llama.cpp's, on a vocabulary that says it was made by that rule."""

from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from services.tokenizer.pretokenizers import RULES
from services.tokenizer.verify import probe_strings
from services.tokenizer.vocabulary import vocabulary_of_gguf
from shared.models.llama_vocab import LlamaVocab


def write_vocabulary(path: Path, metadata: Mapping[str, Any], rule: str) -> None:
    """The default model's vocabulary without weights, under another `tokenizer.ggml.pre`."""
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_feed_forward_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(metadata["tokenizer.ggml.tokens"])
    writer.add_token_types(metadata["tokenizer.ggml.token_type"])
    writer.add_token_merges(metadata["tokenizer.ggml.merges"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_cuts_as_llama_cpp_does(metadata: Mapping[str, Any], tmp_path: Path, rule: str) -> None:
    path = tmp_path / "vocabulary.gguf"
    write_vocabulary(path, metadata, rule)
    vocabulary = vocabulary_of_gguf({**metadata, "tokenizer.ggml.pre": rule})
    seams = ("I'LL we're 1234567 x\r\n\n  y\t\tz", "don't!!!\n\nx ...\r\n", "  \n  a")
    texts = [*islice(probe_strings(), 2000), *seams]
    with closing(LlamaVocab(path)) as engine:
        expected = engine.encode([text.encode() for text in texts])
    found = vocabulary.encode(texts)
    assert [text for text, a, b in zip(texts, found, expected, strict=True) if a != b] == []
