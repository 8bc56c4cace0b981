"""The vocabulary of a GGUF file, read from its metadata: the same ids and bytes as the engine's own."""

from collections.abc import Mapping

from services.inference.engine import Vocabulary
from shared.models.gguf import Value

NORMAL, USER_DEFINED = 1, 4
END_PIECES = frozenset({"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end|>", "</s>"})


class VocabularyError(Exception):
    """The file's vocabulary is of a kind that is not read here; the message is one line."""


def read_vocabulary(metadata: Mapping[str, Value]) -> Vocabulary:
    """Raises VocabularyError. Only byte-level BPE (`gpt2` in GGUF) is read."""
    kind = metadata.get("tokenizer.ggml.model")
    tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if kind != "gpt2" or not isinstance(tokens, list) or not isinstance(types, list):
        raise VocabularyError(f"the vocabulary's kind is {kind!r}; only byte-level BPE is read")
    octets = {character: octet for octet, character in enumerate(_characters())}
    pieces = []
    for token, kind_of_token in zip(tokens, types, strict=True):
        text = str(token)
        if kind_of_token == NORMAL:
            pieces.append(bytes(octets[character] for character in text))
        else:
            pieces.append(text.encode() if kind_of_token == USER_DEFINED else b"")
    end = {place for place, token in enumerate(tokens) if token in END_PIECES}
    eos = metadata.get("tokenizer.ggml.eos_token_id")
    if isinstance(eos, int):
        end.add(eos)
    return Vocabulary(tuple(pieces), frozenset(end))


def _characters() -> list[str]:
    """The character that byte-level BPE writes for each byte: itself where it prints, else from U+0100 on."""
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(octet) if octet in printing else chr(next(others)) for octet in range(256)]
