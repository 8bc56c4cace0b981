"""Settings of the tokenizer."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import GIVEN, Settings

ROOT = Path(__file__).resolve().parents[2]


class TokenizerSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_TOKENIZER_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_TOKENIZER_")

    manifests: tuple[Path, ...] = Field(
        default=(ROOT / "ops" / "models" / "smollm2-135m-instruct.yaml",),
        json_schema_extra=GIVEN,
        description="Manifests of the models that this process encodes for.",
    )
    library: Path | None = Field(
        default=None, description="llama.cpp's library, for the check at load; none = the xllamacpp wheel's."
    )
    tokenizer_json: dict[str, Path] = Field(
        default_factory=dict,
        description="By model name: a tokenizer.json used in place of the GGUF's own metadata.",
    )
    batch: int = Field(default=64, ge=1, description="Most requests encoded in one turn of the thread.")
    inline_cost: int = Field(
        default=2_048,
        ge=0,
        description="Requests of one batch are encoded on the event loop up to this many bytes, about "
        "0.3 ms; the rest goes to a thread, which costs 0.2 ms of two threads by itself.",
    )
    member: str = Field(
        default="tokenizer-0",
        min_length=1,
        description="Name in the consumer group, the same after a restart; one for each replica.",
    )
