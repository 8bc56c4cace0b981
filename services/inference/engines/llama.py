"""The engine on llama.cpp: many sequences in one batch over one pool of cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.inference.engine import Capabilities, EngineError, Part, Vocabulary
from services.inference.engines import sampling
from services.inference.engines.llama_abi import Llama, LlamaError

MOST_PIECE = 512
"""Bytes of the longest piece that is asked for without a second call."""


class LlamaEngine:
    """One model in one llama.cpp context with a unified pool of cells."""

    def __init__(
        self,
        library: Llama,
        weights: Path,
        *,
        context: int,
        cells: int,
        sequences: int,
        batch: int,
        threads: int,
        gpu_layers: int = 0,
    ) -> None:
        """Load the weights and take the memory. Blocks for as long as that takes. Raises LlamaError."""
        self._library, self._lib, self._ffi = library, library.lib, library.ffi
        self._model = self._load(weights, gpu_layers)
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self._size = int(self._lib.llama_vocab_n_tokens(self._vocab))
        self._context = self._open(cells, sequences, batch, threads)
        self._memory = self._lib.llama_get_memory(self._context)
        self._batch = self._make_batch(batch)
        self.capabilities = Capabilities(
            context=min(context, int(self._lib.llama_model_n_ctx_train(self._model))),
            cells=int(self._lib.llama_n_ctx(self._context)),
            sequences=sequences,
            batch=batch,
            step_seconds=0.0,
        )
        self.vocabulary = self._read_vocabulary()

    def _load(self, weights: Path, gpu_layers: int) -> Any:
        params = self._lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        model = self._lib.llama_model_load_from_file(str(weights).encode(), params)
        if model == self._ffi.NULL:
            raise LlamaError(f"llama.cpp cannot load {weights}")
        return model

    def _open(self, cells: int, sequences: int, batch: int, threads: int) -> Any:
        params = self._lib.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = sequences
        params.n_outputs_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        context = self._lib.llama_init_from_model(self._model, params)
        if context == self._ffi.NULL:
            raise LlamaError(f"llama.cpp cannot make a context of {cells} cells and {sequences} sequences")
        return context

    def _make_batch(self, batch: int) -> Any:
        """A batch struct over arrays of our own; what each points to is kept in `self`."""
        ffi = self._ffi
        self._token = np.zeros(batch, np.int32)
        self._position = np.zeros(batch, np.int32)
        self._sequence = np.zeros(batch, np.int32)
        self._output = np.zeros(batch, np.int8)
        self._ones = np.ones(batch, np.int32)
        sequence = ffi.cast("llama_seq_id *", self._sequence.ctypes.data)
        self._sequence_rows = ffi.new("llama_seq_id *[]", [sequence + row for row in range(batch)])
        made = ffi.new("struct llama_batch *")
        made.token = ffi.cast("llama_token *", self._token.ctypes.data)
        made.pos = ffi.cast("llama_pos *", self._position.ctypes.data)
        made.n_seq_id = ffi.cast("int32_t *", self._ones.ctypes.data)
        made.seq_id = self._sequence_rows
        made.logits = ffi.cast("int8_t *", self._output.ctypes.data)
        return made

    def _read_vocabulary(self) -> Vocabulary:
        buffer = self._ffi.new("char[]", MOST_PIECE)
        pieces = tuple(self._piece(token, buffer, MOST_PIECE) for token in range(self._size))
        is_end = self._lib.llama_vocab_is_eog
        end = frozenset(token for token in range(self._size) if is_end(self._vocab, token))
        return Vocabulary(pieces, end)

    def _piece(self, token: int, buffer: Any, room: int) -> bytes:
        length = self._lib.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
        if length < 0:
            return self._piece(token, self._ffi.new("char[]", -length), -length)
        return bytes(self._ffi.buffer(buffer, length))

    def step(self, parts: Sequence[Part]) -> list[int]:
        """See the port."""
        count = 0
        drawn: list[tuple[int, Part]] = []
        self._output[: self._output.shape[0]] = 0
        for part in parts:
            end = count + len(part.ids)
            self._token[count:end] = part.ids
            self._position[count:end] = range(part.position, part.position + end - count)
            self._sequence[count:end] = part.sequence
            if part.draws:
                self._output[end - 1] = 1
                drawn.append((end - 1, part))
            count = end
        self._batch.n_tokens = count
        status = self._lib.llama_decode(self._context, self._batch[0])
        if status != 0:
            raise EngineError(f"llama_decode of {count} tokens in {len(parts)} sequences returned {status}")
        return [self._draw(row, part) for row, part in drawn]

    def _draw(self, row: int, part: Part) -> int:
        pointer = self._lib.llama_get_logits_ith(self._context, row)
        if pointer == self._ffi.NULL:
            raise EngineError(f"llama.cpp has no logits for row {row}")
        logits = np.frombuffer(self._ffi.buffer(pointer, self._size * 4), np.float32)
        return sampling.draw(logits, part.sampling, part.seed, part.choice, part.index)

    def copy(self, source: int, target: int, length: int) -> None:
        """See the port."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def remove(self, sequence: int, start: int = 0) -> None:
        """See the port."""
        if not self._lib.llama_memory_seq_rm(self._memory, sequence, start, -1):
            raise EngineError(f"llama.cpp cannot cut sequence {sequence} at {start}")

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Ids of a text by the library's own tokenizer, which other tokenizers are held against."""
        octets = text.encode()
        room = len(octets) + 8
        ids = self._ffi.new("llama_token[]", room)
        count = self._lib.llama_tokenize(self._vocab, octets, len(octets), ids, room, False, special)
        if count < 0:
            raise EngineError(f"a text of {len(octets)} bytes has {-count} tokens")
        return list(ids[0:count])

    def close(self) -> None:
        """See the port."""
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)
