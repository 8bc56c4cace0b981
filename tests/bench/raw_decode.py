"""The scheduler against a raw decode loop: same library, weights, threads, prompts and batch, greedy.

The raw loop is the anchor: it fills the batch, decodes, takes the argmax of each row and nothing else
(no detokenising, no accounting). Both take in all prompts and then decode until each sequence has its
tokens. Rounds alternate, since the machine's speed drifts. Run: `python -m tests.bench.raw_decode`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from services.inference.engine import Sampling
from services.inference.engines.llama import LlamaEngine
from services.inference.engines.loading import Sizes, load_engine
from services.inference.scheduler import Job, Scheduler
from shared.models.manifest import load_manifest

MANIFEST = Path(__file__).parents[2] / "ops/models/smollm2-135m-instruct.yaml"


def prompts(engine: LlamaEngine, count: int) -> list[list[int]]:
    """Chat prompts that share no more than the template's first tokens."""
    subjects = ("rivers", "ports", "bread", "winter", "glass", "rice", "bridges", "music", "paper", "rain")
    text = (
        "<|im_start|>user\nTell me {} about {} and how they changed a city.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    return [
        engine.tokenize(text.format(f"{place + 2} things", subjects[place % len(subjects)]), special=True)
        for place in range(count)
    ]


def declare_batch(engine: LlamaEngine) -> None:
    """Declare the two calls that only the raw loop makes."""
    engine._library.ffi.cdef(
        "struct llama_batch llama_batch_init(int32_t, int32_t, int32_t);"
        "void llama_batch_free(struct llama_batch);"
    )


def raw(engine: LlamaEngine, asked: Sequence[Sequence[int]], tokens: int) -> int:
    """Tokens decoded by a bare loop over the library's own calls."""
    lib, ffi, context, size = engine._lib, engine._ffi, engine._context, engine._size
    batch = lib.llama_batch_init(engine.capabilities.batch, 0, 1)

    def put(row: int, token: int, position: int, sequence: int, wanted: bool) -> None:
        batch.token[row], batch.pos[row] = token, position
        batch.n_seq_id[row], batch.seq_id[row][0], batch.logits[row] = 1, sequence, wanted

    def argmax(row: int) -> int:
        pointer = lib.llama_get_logits_ith(context, row)
        return int(np.frombuffer(ffi.buffer(pointer, size * 4), np.float32).argmax())

    last = []
    for sequence, prompt in enumerate(asked):
        for row, token in enumerate(prompt):
            put(row, token, row, sequence, row == len(prompt) - 1)
        batch.n_tokens = len(prompt)
        lib.llama_decode(context, batch)
        last.append(argmax(len(prompt) - 1))
    for step in range(tokens - 1):
        for sequence, prompt in enumerate(asked):
            put(sequence, last[sequence], len(prompt) + step, sequence, True)
        batch.n_tokens = len(asked)
        lib.llama_decode(context, batch)
        last = [argmax(row) for row in range(len(asked))]
    for sequence in range(len(asked)):
        engine.remove(sequence)
    lib.llama_batch_free(batch)
    return tokens * len(asked)


def scheduled(
    engine: LlamaEngine, asked: Sequence[Sequence[int]], tokens: int, sampling: Sampling, budget: int
) -> int:
    """Tokens given out by the scheduler, text and stops included."""
    scheduler = Scheduler(engine, len(asked), budget)
    scheduler._end = frozenset()
    for key, prompt in enumerate(asked):
        scheduler.submit(Job(key, b"%d" % key, prompt, 0, (), sampling, key, ("\n\n\n\n",), tokens))
    given = 0
    while scheduler.busy:
        given += len(scheduler.step().columns.ids)
    scheduler.pool.clear()
    return given


def main() -> None:
    """Print tokens/s of both, and the ratio of the medians of paired rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    sizes = Sizes(cells=4_096, sequences=2 * given.sequences, batch=128, threads=given.threads, gpu_layers=0)
    engine = load_engine("llama", load_manifest(MANIFEST), sizes)
    assert isinstance(engine, LlamaEngine)
    declare_batch(engine)
    asked = prompts(engine, given.sequences)
    warm = Sampling(temperature=0.2, top_p=0.9)
    ways: dict[str, Callable[[], int]] = {
        "raw greedy": lambda: raw(engine, asked, given.tokens),
        "scheduler greedy": lambda: scheduled(engine, asked, given.tokens, Sampling(), 64),
        "scheduler sampled": lambda: scheduled(engine, asked, given.tokens, warm, 64),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            count = way()
            rates[name].append(count / (time.perf_counter() - begin))
    anchor = rates["raw greedy"]
    for name, found in rates.items():
        ratio = statistics.median(mine / its for mine, its in zip(found, anchor, strict=True))
        rounds = [round(rate) for rate in found]
        print(f"{name:18} {statistics.median(found):7.1f} tokens/s  ratio {ratio:.3f}  rounds {rounds}")
    engine.close()


if __name__ == "__main__":
    main()
