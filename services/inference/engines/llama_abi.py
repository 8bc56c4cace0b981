"""Declarations of llama.cpp's C API for one build, and the library that holds it.

Structs passed by value make a wrong declaration corrupt memory instead of failing, so a library is
used only if its version is the one declared here and its own default parameters, read through these
layouts, have the values that build is known to have. Source of the layouts: `include/llama.h` of
build 11548; `xllamacpp` 2026.10.11549 encloses it.
"""

import importlib.metadata
import importlib.util
import logging
from pathlib import Path
from typing import Any

from cffi import FFI

log = logging.getLogger(__name__)

WHEEL = "xllamacpp"
WHEEL_VERSION = "2026.10.11549"

DECLARATIONS = """
typedef int32_t llama_pos;
typedef int32_t llama_token;
typedef int32_t llama_seq_id;
typedef struct llama_memory_i * llama_memory_t;
typedef void (*ggml_log_callback)(int level, const char * text, void * user_data);

struct llama_model_params {
    void * devices;
    const void * tensor_buft_overrides;
    int32_t n_gpu_layers;
    int split_mode;
    int load_mode;
    int lazy_mode;
    int32_t main_gpu;
    const float * tensor_split;
    void * progress_callback;
    void * progress_callback_user_data;
    const void * kv_overrides;
    bool vocab_only;
    bool check_tensors;
    bool use_extra_bufts;
    bool no_host;
    bool no_alloc;
    bool load_mtp;
};

struct llama_context_params {
    uint32_t n_ctx;
    uint32_t n_batch;
    uint32_t n_ubatch;
    uint32_t n_seq_max;
    uint32_t n_rs_seq;
    uint32_t n_outputs_max;
    uint32_t n_outputs_max_per_seq;
    int32_t n_threads;
    int32_t n_threads_batch;
    int ctx_type;
    int rope_scaling_type;
    int pooling_type;
    int attention_type;
    int flash_attn_type;
    float rope_freq_base;
    float rope_freq_scale;
    float yarn_ext_factor;
    float yarn_attn_factor;
    float yarn_beta_fast;
    float yarn_beta_slow;
    uint32_t yarn_orig_ctx;
    float defrag_thold;
    void * cb_eval;
    void * cb_eval_user_data;
    int type_k;
    int type_v;
    size_t moe_cache_size;
    void * abort_callback;
    void * abort_callback_data;
    bool embeddings;
    bool offload_kqv;
    bool no_perf;
    bool op_offload;
    bool swa_full;
    bool kv_unified;
    void * samplers;
    size_t n_samplers;
    void * ctx_other;
};

struct llama_batch {
    int32_t n_tokens;
    llama_token * token;
    float * embd;
    llama_pos * pos;
    int32_t * n_seq_id;
    llama_seq_id ** seq_id;
    int8_t * logits;
};

const char * llama_version(void);
struct llama_model_params llama_model_default_params(void);
struct llama_context_params llama_context_default_params(void);
size_t llama_max_parallel_sequences(void);
void llama_backend_init(void);
void llama_log_set(ggml_log_callback log_callback, void * user_data);

struct llama_model * llama_model_load_from_file(const char * path, struct llama_model_params params);
void llama_model_free(struct llama_model * model);
int32_t llama_model_n_ctx_train(const struct llama_model * model);
const struct llama_vocab * llama_model_get_vocab(const struct llama_model * model);
int32_t llama_vocab_n_tokens(const struct llama_vocab * vocab);
llama_token llama_vocab_eos(const struct llama_vocab * vocab);
bool llama_vocab_is_eog(const struct llama_vocab * vocab, llama_token token);
int32_t llama_token_to_piece(const struct llama_vocab * vocab, llama_token token,
                             char * buf, int32_t length, int32_t lstrip, bool special);
int32_t llama_tokenize(const struct llama_vocab * vocab, const char * text, int32_t text_len,
                       llama_token * tokens, int32_t n_tokens_max, bool add_special, bool parse_special);

struct llama_context * llama_init_from_model(struct llama_model * model, struct llama_context_params params);
void llama_free(struct llama_context * ctx);
uint32_t llama_n_ctx(const struct llama_context * ctx);
int32_t llama_decode(struct llama_context * ctx, struct llama_batch batch);
float * llama_get_logits_ith(struct llama_context * ctx, int32_t i);

llama_memory_t llama_get_memory(const struct llama_context * ctx);
bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1);
void llama_memory_seq_cp(llama_memory_t mem, llama_seq_id src, llama_seq_id dst, llama_pos p0, llama_pos p1);
void llama_memory_clear(llama_memory_t mem, bool data);
"""

# The defaults are read into structs with room behind them: a build whose struct is longer writes into
# that room, and is then refused for its values.
PROBES = """
struct model_params_probe { struct llama_model_params params; unsigned char beyond[256]; };
struct context_params_probe { struct llama_context_params params; unsigned char beyond[256]; };
typedef struct model_params_probe (*model_params_call)(void);
typedef struct context_params_probe (*context_params_call)(void);
"""

LLAMA_VERSION = "0.6.0-dev"
MODEL_DEFAULTS: dict[str, int | float] = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "main_gpu": 0,
    "vocab_only": 0,
    "check_tensors": 0,
    "use_extra_bufts": 1,
    "no_host": 0,
    "no_alloc": 0,
    "load_mtp": 0,
}
CONTEXT_DEFAULTS: dict[str, int | float] = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_rs_seq": 0,
    "n_outputs_max": 0,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    "ctx_type": 0,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": -1,
    "rope_freq_base": 0.0,
    "yarn_ext_factor": -1.0,
    "yarn_orig_ctx": 0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "moe_cache_size": 0,
    "embeddings": 0,
    "offload_kqv": 1,
    "no_perf": 1,
    "op_offload": 1,
    "swa_full": 1,
    "kv_unified": 0,
    "n_samplers": 0,
}

GGML_LOG_ERROR = 4


class LlamaError(Exception):
    """The library is missing, is another build, or refused a call; the message is one line."""


class Llama:
    """The loaded library. `lib` has the functions declared above, `ffi` makes their arguments."""

    def __init__(self, path: Path | None = None) -> None:
        """Load `path`, or by default the library inside the wheel. Raises LlamaError."""
        self.ffi = FFI()
        self.ffi.cdef(DECLARATIONS + PROBES)
        self.path = path or _wheel_library()
        try:
            self.lib: Any = self.ffi.dlopen(str(self.path))
            self._check()
        except (OSError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise LlamaError(f"{self.path} is not llama.cpp, or lacks what it needs: {reason}") from error
        # Kept for the library's lifetime: it calls back at any time, from its own threads too.
        self._on_log = self.ffi.callback("ggml_log_callback", self._log)
        self.lib.llama_log_set(self._on_log, self.ffi.NULL)
        self.lib.llama_backend_init()

    def _log(self, level: int, text: Any, _data: Any) -> None:
        # Its warnings, such as a context below the trained one, are choices of ours: only errors stand out.
        severity = logging.ERROR if level == GGML_LOG_ERROR else logging.DEBUG
        if log.isEnabledFor(severity):
            log.log(severity, "%s", self.ffi.string(text).decode(errors="replace").rstrip())

    def _check(self) -> None:
        found = self.ffi.string(self.lib.llama_version()).decode()
        if found != LLAMA_VERSION:
            raise LlamaError(f"{self.path} is llama.cpp {found}; this build knows only {LLAMA_VERSION}")
        self._compare("model", MODEL_DEFAULTS)
        self._compare("context", CONTEXT_DEFAULTS)

    def _compare(self, kind: str, expected: dict[str, int | float]) -> None:
        address = self.ffi.addressof(self.lib, f"llama_{kind}_default_params")
        probe = self.ffi.cast(f"{kind}_params_call", address)()
        for name, value in expected.items():
            if getattr(probe.params, name) != value:
                raise LlamaError(
                    f"{self.path}: llama_{kind}_params.{name} is {getattr(probe.params, name)}, not {value}: "
                    "another build, whose structs are laid out differently"
                )


def _wheel_library() -> Path:
    """The shared object inside the wheel, found without importing the package."""
    try:
        version = importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError as error:
        raise LlamaError(
            f"the package {WHEEL} {WHEEL_VERSION} that holds llama.cpp is not installed"
        ) from error
    if version != WHEEL_VERSION:
        raise LlamaError(f"{WHEEL} is {version}; the declarations are those of {WHEEL_VERSION}")
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for found in sorted(Path(folder).glob(f"{WHEEL}*.so")):
            return found
    raise LlamaError(f"{WHEEL} {version} holds no shared object")
