"""Settings of the inference worker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import GIVEN, Settings

ROOT = Path(__file__).resolve().parents[2]


class InferenceSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_INFERENCE_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_INFERENCE_")

    engine: Literal["llama", "synthetic"] = Field(
        default="llama",
        json_schema_extra=GIVEN,
        description="`llama` runs the model; `synthetic` draws seeded words without one.",
    )
    manifest: Path = Field(
        default=ROOT / "ops" / "models" / "smollm2-135m-instruct.yaml",
        json_schema_extra=GIVEN,
        description="Manifest of the served model.",
    )
    library: Path | None = Field(
        default=None,
        description="llama.cpp's shared library, for NPUs and GPUs; none = the one in the xllamacpp wheel.",
    )
    seat: int | None = Field(
        default=None,
        ge=0,
        description="Partition of `work` that this worker reads; none = one is claimed from control.",
    )
    threads: int = Field(default=0, ge=0, description="Threads of the engine; 0 = one per usable core.")
    gpu_layers: int = Field(default=0, ge=-1, description="Layers on the device; -1 = all.")
    slots: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Sequences that run at a time; 0 = 16 with llama, 256 with synthetic.",
    )
    queue: int = Field(default=4, ge=0, description="Accepted choices that may wait for a slot.")
    cells: int = Field(
        default=0,
        ge=0,
        description="Tokens that all sequences together hold (SmolLM2: 23 kB each, so 6,144 take 142 MB); "
        "0 = 6,144 with llama, 1,048,576 with synthetic.",
    )
    kept_sequences: int = Field(
        default=24, ge=1, description="Ended sequences that are kept for their prefixes, beside the running."
    )
    prefill_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens of a step, running sequences included. More takes prompts in faster, fewer "
        "cancels and streams smoother; 0 = 64 with llama, 8,192 with synthetic.",
    )
    stalled_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds of one step after which the engine is given up: what runs goes on elsewhere, "
        "and the worker is not ready until it is restarted. More than the slowest step takes.",
    )
    tokens_per_second: float = Field(
        default=0.0, ge=0.0, description="Pace of each synthetic sequence; 0 = as fast as possible."
    )
    diagnostics: bool = Field(
        default=False, description="Whether operators may call Generate, which gives ids and times, no text."
    )

    def chosen(self, own: int, llama: int, synthetic: int) -> int:
        """A setting's own value, or where it is 0 the engine's default."""
        return own or (llama if self.engine == "llama" else synthetic)
