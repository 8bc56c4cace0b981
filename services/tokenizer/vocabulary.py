"""A model's vocabulary: text to ids and back, with exactly the ids of the engine that serves it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE

from services.tokenizer.errors import ModelRefused
from services.tokenizer.pretokenizers import RULES
from services.tokenizer.words import Words

_T = TypeVar("_T", str, int)

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Token types of GGUF that are not found by merging."""

# User-defined tokens that look like this steer a model as control tokens do (`<tool_call>`, `[INST]`).
_MARKUP = re.compile(r"<.*>|\[.*\]", re.DOTALL)


POOL_CHARACTERS = 16_384
"""Less text than this is encoded on the calling thread: waking a pool of threads for it costs more."""


class Vocabulary:
    """One model's tokens, for several threads at once; long calls hold no GIL while they encode."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        size: int,
        controls: Mapping[str, int],
        *,
        begin: int | None = None,
        end: int | None = None,
        add_begin: bool = False,
        dropped: int | None = None,
        words: re.Pattern[str] | None = None,
    ) -> None:
        """`words` cuts ASCII text as the tokenizer does, where no token spans two words."""
        self._tokenizer = tokenizer
        self._dropped = dropped
        self._words = Words(words, lambda word: self._merge([word])[0]) if words else None
        self.size = size
        """Ids are below it."""
        self.controls = dict(controls)
        """Text and id of every token that only a template may write, never a user."""
        self._texts = {token: text for text, token in controls.items()}
        self.begin = begin
        self.end = end
        self.add_begin = add_begin
        """Whether a prompt that does not start with `begin` gets it."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, whatever stands in it: control tokens are plain text here.

        Nothing is added. Raises `TypeError` for a lone surrogate, which protobuf cannot carry.
        """
        if self._words is None:
            return self._merge(texts)
        found = [self._words.encode(text) for text in texts]
        rest = iter(self._merge([text for text, ids in zip(texts, found, strict=True) if ids is None]))
        return [next(rest) if ids is None else ids for ids in found]

    def _merge(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, by the tokenizer itself."""
        tokenizer = self._tokenizer
        if sum(map(len, texts)) < POOL_CHARACTERS:
            found = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        else:
            encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            found = [encoding.ids for encoding in encoded]
        if self._dropped is not None:
            for number, ids in enumerate(found):
                if self._dropped in ids:
                    found[number] = [token for token in ids if token != self._dropped]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; bytes that are no UTF-8, cut code points too, become U+FFFD.

        Control tokens show as their text. Raises `ValueError` for an id that is not in the vocabulary.
        """
        if ids and (max(ids) >= self.size or min(ids) < 0):
            raise ValueError(f"ids must be from 0 to {self.size - 1}")
        parts: list[str] = []
        for is_control, run in groupby(ids, self._texts.__contains__):
            if is_control:
                parts.extend(map(self._texts.__getitem__, run))
            else:
                parts.append(self._tokenizer.decode(list(run), skip_special_tokens=False))
        return "".join(parts)

    def text_of(self, token: int | None) -> str:
        """The text of a control token as a template writes it; empty where it is none."""
        return "" if token is None else self._texts.get(token, "")


def vocabulary_of_gguf(metadata: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that a GGUF's own metadata describes. Raises ModelRefused."""
    kind, rule_name = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "gpt-2")
    rule = RULES.get(str(rule_name))
    if kind != "gpt2" or rule is None:
        raise ModelRefused(
            f"tokenizer {kind}/{rule_name} cannot be built from GGUF metadata; name a tokenizer.json"
        )
    tokens = _list(metadata, "tokenizer.ggml.tokens", str)
    types = _list(metadata, "tokenizer.ggml.token_type", int)
    merges = [_pair(merge) for merge in _list(metadata, "tokenizer.ggml.merges", str)]
    ids = {token: number for number, token in enumerate(tokens)}
    if len(ids) != len(tokens) or len(types) != len(tokens):
        raise ModelRefused("the vocabulary has a token twice, or not a type for each token")
    # Bytes that have no token are dropped by the engine, after they kept their neighbours apart. An
    # id above all others stands for them while merging.
    dropped = len(tokens)
    stand_in = _absent(ids)
    try:
        model = BPE(
            vocab={**ids, stand_in: dropped},
            merges=merges,
            unk_token=stand_in,
            fuse_unk=False,
            ignore_merges=rule.whole_words,
        )
    except Exception as error:  # the binding raises bare Exception for a merge it cannot resolve
        raise ModelRefused(f"the vocabulary does not hold together: {error}") from error
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = rule.make()
    tokenizer.decoder = ByteLevelDecoder()
    controls = {token: ids[token] for token, kind in zip(tokens, types, strict=True) if _steers(kind, token)}
    defined = (token for token, kind in zip(tokens, types, strict=True) if kind == USER_DEFINED)
    added = [token for token in defined if token not in controls]
    tokenizer.add_tokens(added)
    begin = _token(metadata, "tokenizer.ggml.bos_token_id", dropped)
    end = _token(metadata, "tokenizer.ggml.eos_token_id", dropped)
    add_begin = bool(metadata.get("tokenizer.ggml.add_bos_token", False))
    return Vocabulary(
        tokenizer,
        dropped,
        controls,
        begin=begin,
        end=end,
        add_begin=add_begin,
        dropped=dropped,
        words=None if added else rule.words,
    )


def _list(metadata: Mapping[str, Any], name: str, kind: type[_T]) -> list[_T]:
    """A list of one type. Raises ModelRefused."""
    found = metadata.get(name)
    if not isinstance(found, list) or not all(type(item) is kind for item in found):
        raise ModelRefused(f"the GGUF metadata has no {name}, or no list of {kind.__name__}")
    return found


def _token(metadata: Mapping[str, Any], name: str, size: int) -> int | None:
    """An id below `size`, or None where none is named. Raises ModelRefused."""
    found = metadata.get(name)
    if found is not None and (type(found) is not int or not 0 <= found < size):
        raise ModelRefused(f"{name} of the GGUF metadata is no token")
    return found


def _steers(kind: int, token: str) -> bool:
    return kind in (UNKNOWN, CONTROL) or (kind == USER_DEFINED and _MARKUP.fullmatch(token) is not None)


def _pair(merge: str) -> tuple[str, str]:
    # A space inside a token is written as another character, so the first one parts the two, but never
    # at the very start.
    cut = merge.find(" ", 1)
    if cut < 0:
        raise ModelRefused(f"not a merge of two tokens: {merge!r}")
    return merge[:cut], merge[cut + 1 :]


def _absent(ids: Mapping[str, int]) -> str:
    text = "\ue000"
    while text in ids:
        text += "\ue000"
    return text


def vocabulary_of_json(document: str, begin: str = "", end: str = "") -> Vocabulary:
    """The vocabulary of a Hugging Face `tokenizer.json`; `begin` and `end` name its outer tokens.

    Its special tokens are taken out, so that user text cannot become one; so are truncation, padding and
    post-processing. Raises ModelRefused.
    """
    try:
        stated = json.loads(document)
        added = stated["added_tokens"]
        controls = {
            token["content"]: token["id"]
            for token in added
            if token["special"] or _MARKUP.fullmatch(token["content"])
        }
        stated["added_tokens"] = [token for token in added if token["content"] not in controls]
        stated.update(truncation=None, padding=None, post_processor=None)
        size = 1 + max(*_ids(stated["model"]["vocab"]), *(token["id"] for token in added), 0)
        tokenizer = Tokenizer.from_str(json.dumps(stated))
    except Exception as error:  # the binding raises bare Exception for what it cannot read
        raise ModelRefused(f"the tokenizer.json cannot be used: {error}") from error
    return Vocabulary(tokenizer, size, controls, begin=controls.get(begin), end=controls.get(end))


def _ids(vocab: Any) -> Sequence[int]:
    return list(vocab.values()) if isinstance(vocab, dict) else range(len(vocab))
