"""The engine's own vocabulary, loaded without weights: the truth that a tokenizer is checked against.

Only the functions needed here are declared, after `llama.h` of llama.cpp build 11548, which the
`xllamacpp` 2026.10.11549 wheel contains. The layout of `llama_model_params` belongs to one build, so its
default values are checked before it is used: a library that was built from another `llama.h` is refused.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cffi import FFI

DECLARATIONS = """
typedef int32_t llama_token;
struct llama_model_params {
    void * devices;
    void * tensor_buft_overrides;
    int32_t n_gpu_layers;
    int32_t split_mode;
    int32_t load_mode;
    int32_t lazy_mode;
    int32_t main_gpu;
    float * tensor_split;
    void * progress_callback;
    void * progress_callback_user_data;
    void * kv_overrides;
    bool vocab_only;
    bool check_tensors;
    bool use_extra_bufts;
    bool no_host;
    bool no_alloc;
    bool load_mtp;
};
struct llama_model_params llama_model_default_params(void);
void * llama_model_load_from_file(const char * path_model, struct llama_model_params params);
void llama_model_free(void * model);
const void * llama_model_get_vocab(const void * model);
int32_t llama_vocab_n_tokens(const void * vocab);
int32_t llama_tokenize(const void * vocab, const char * text, int32_t text_len, llama_token * tokens,
                       int32_t n_tokens_max, bool add_special, bool parse_special);
void llama_log_get(void ** log_callback, void ** user_data);
void llama_log_set(void * log_callback, void * user_data);
"""
# Fields of `llama_model_default_params()` and their values in that build; `load_mode` -1 is "auto".
DEFAULTS = {
    "split_mode": 1,
    "load_mode": -1,
    "main_gpu": 0,
    "vocab_only": False,
    "check_tensors": False,
    "use_extra_bufts": True,
    "no_host": False,
    "no_alloc": False,
}


class LlamaLibraryError(Exception):
    """The library or the file cannot be used; the message is one clear line."""


def find_library() -> Path:
    """The library inside the `xllamacpp` wheel, located without importing it. Raises LlamaLibraryError."""
    spec = importlib.util.find_spec("xllamacpp")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(folder).glob("xllamacpp*.so"):
            return found
    raise LlamaLibraryError("the package xllamacpp, which holds llama.cpp, is not installed")


class LlamaVocab:
    """The vocabulary of one GGUF file. Not for several threads at once; call `close`."""

    def __init__(self, weights: Path, library: Path | None = None) -> None:
        """Load (100 ms, no tensors). `library` None = the wheel's. Raises LlamaLibraryError."""
        self._ffi = FFI()
        self._ffi.cdef(DECLARATIONS)
        path = library or find_library()
        try:
            self._lib: Any = self._ffi.dlopen(str(path))
            parameters = self._lib.llama_model_default_params()
        except (OSError, AttributeError) as error:
            raise LlamaLibraryError(f"llama.cpp library {path}: {error}") from error
        for name, value in DEFAULTS.items():
            if (found := getattr(parameters, name)) != value:
                raise LlamaLibraryError(
                    f"llama.cpp library {path}: default {name} is {found}, not {value}: another build"
                )
        parameters.vocab_only = True
        with self._silence():
            self._model = self._lib.llama_model_load_from_file(str(weights).encode(), parameters)
        if not self._model:
            raise LlamaLibraryError(f"llama.cpp cannot load the vocabulary of {weights}")
        self._vocab = self._lib.llama_model_get_vocab(self._model)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Keep the library's chatter off standard error, and give its log back to whoever had it."""
        ffi, lib = self._ffi, self._lib
        callback, data = ffi.new("void **"), ffi.new("void **")
        lib.llama_log_get(callback, data)
        quiet = ffi.callback("void(int, const char *, void *)", lambda level, text, user: None)
        lib.llama_log_set(ffi.cast("void *", quiet), ffi.NULL)
        try:
            yield
        finally:
            lib.llama_log_set(callback[0], data[0])

    def __len__(self) -> int:
        return int(self._lib.llama_vocab_n_tokens(self._vocab))

    def encode(self, texts: Sequence[bytes], *, parse_special: bool = False) -> list[list[int]]:
        """Ids of each UTF-8 text; control tokens in it are matched only with `parse_special`.

        No begin or end token is added. A token covers at least one byte, except where the model
        normalises text; 16 tokens a byte are room for any of them.
        """
        found = []
        for text in texts:
            room = 16 * len(text) + 16
            tokens = self._ffi.new("llama_token[]", room)
            count = self._lib.llama_tokenize(self._vocab, text, len(text), tokens, room, False, parse_special)
            if count < 0:
                raise LlamaLibraryError(f"llama.cpp cannot encode a text of {len(text)} bytes")
            found.append(self._ffi.unpack(tokens, count))
        return found

    def close(self) -> None:
        """Free the model. Idempotent."""
        model, self._model = self._model, None
        if model:
            with self._silence():
                self._lib.llama_model_free(model)
