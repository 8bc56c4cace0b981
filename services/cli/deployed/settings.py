"""Settings of a process that runs one service."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
Port = Annotated[int, Field(ge=0, le=65535)]


class ProcessSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_")

    instance: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Name of this replica, the same after a restart and unlike any other's: it keeps its"
        " share of the work over a restart. The host's name unless set.",
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        description="What services and operators show each other on the internal gRPC; the same for all, best"
        " as `FREEHOLD_TOKEN_FILE`. At least 32 characters. While one is replaced by the next: both, with a"
        " space between; the first is shown, both are accepted.",
    )
    pepper: SecretStr = Field(
        default=SecretStr(""),
        description="Secret under which keys are hashed; best as `FREEHOLD_PEPPER_FILE`. While one is"
        " replaced by the next: `1=OLD 2=NEW`.",
    )
    rpc_host: str = Field(default="127.0.0.1", description="Address that the internal gRPC listens on.")
    rpc_port: Port = Field(default=50051, description="Port of the internal gRPC; 0 = any free one.")
    ops_host: str = Field(
        default="127.0.0.1", description="Address of `/livez`, `/readyz` and `/metrics` over HTTP."
    )
    ops_port: Port = Field(default=9464, description="Port of these; 0 = any free one.")
    control_target: str = Field(
        default="127.0.0.1:50051",
        description="Control's internal gRPC: edges and workers claim numbers there.",
    )
    billing_target: str = Field(
        default="127.0.0.1:50051",
        description="Billing's internal gRPC, for usage and for facts to be repeated.",
    )
    audit_target: str = Field(default="127.0.0.1:50051", description="Audit's internal gRPC, for receipts.")
    engine: Literal["llama", "synthetic"] = Field(
        default="llama", description="`llama` runs the model; `synthetic` measures the platform without one."
    )
    manifest: Path = Field(
        default=ROOT / "ops" / "models" / "smollm2-135m-instruct.yaml",
        description="Manifest of the model that a worker serves.",
    )
    manifests: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Manifests of all models that control offers and tokenizers encode for, separated by"
        " commas; empty = the one above.",
    )
    policies: Path = Field(
        default=ROOT / "ops" / "policies", description="Folder of policy packs, which control publishes."
    )
    audit_folder: Path = Field(
        default=Path("audit"), description="Folder of the transparency log's static files."
    )
    reflection: bool = Field(
        default=True, description="Whether gRPC lists its services to callers with a credential."
    )
    stop_grace_s: float = Field(
        default=10.0, gt=0, description="Seconds that running requests get at a stop."
    )

    @field_validator("manifests", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(Path(part.strip()) for part in value.split(",") if part.strip())

    @property
    def offered(self) -> tuple[Path, ...]:
        """Manifests of all models that are offered."""
        return self.manifests or (self.manifest,)


class WelcomeSettings(Settings):
    """Of `freehold welcome`; read from the environment, prefix `FREEHOLD_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_")

    home: Path = Field(default=Path(".freehold"), description="Folder that keeps the demo's keys.")
    edge_url: str = Field(default="http://127.0.0.1:8080", description="Where this command finds an edge.")
    public_url: str = Field(
        default="http://127.0.0.1:8080/v1", description="Where clients find it, as the text says."
    )
    welcome_timeout_s: float = Field(default=300.0, gt=0, description="Seconds until it gives up.")
