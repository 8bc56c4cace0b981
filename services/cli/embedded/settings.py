"""Settings of the embedded platform."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


class EmbeddedSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_")

    home: Path = Field(default=Path(".freehold"), description="Folder of all state.")
    http_host: str = Field(default="127.0.0.1", description="Address that HTTP and public gRPC listen on.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port of HTTP; 0 = any free one.")
    grpc_port: int = Field(default=8081, ge=0, le=65535, description="Port of public gRPC; 0 = any free one.")
    engine: Literal["llama", "synthetic"] = Field(
        default="llama", description="`llama` runs the model; `synthetic` measures the platform without one."
    )
    manifest: Path = Field(
        default=ROOT / "ops" / "models" / "smollm2-135m-instruct.yaml",
        description="Manifest of the served model.",
    )
    policies: Path = Field(default=ROOT / "ops" / "policies", description="Folder of policy packs.")
    reflection: bool = Field(
        default=True, description="Whether gRPC lists its services to callers with a key."
    )
    ready_timeout_s: float = Field(default=120.0, gt=0, description="Seconds that a start may take.")
    stop_grace_s: float = Field(
        default=10.0, gt=0, description="Seconds that running requests get at a stop."
    )
