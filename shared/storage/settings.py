"""How a process reaches PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class DatabaseSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_DATABASE_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_DATABASE_")

    host: str = Field(default="127.0.0.1", min_length=1, description="PostgreSQL's host, or socket folder.")
    port: int = Field(default=5432, ge=1, le=65535, description="PostgreSQL's port.")
    name: str = Field(
        default="freehold", min_length=1, description="Database; each service has a schema in it."
    )
    user: str = Field(default="freehold", min_length=1, description="Role to connect as.")
    password: SecretStr = Field(default=SecretStr(""), description="Of the role; best as `…_PASSWORD_FILE`.")
    tls: bool = Field(
        default=False,
        description="Whether to insist on TLS, with the server's chain and name checked. Without it TLS is"
        " used where it is offered, and nothing is checked.",
    )
    ca: Path | None = Field(
        default=None,
        description="Certificates (PEM) that the server's is checked against; implies TLS; none = system's.",
    )
    certificate: Path | None = Field(
        default=None,
        description="Own certificate (PEM), with its key unless that has a file of its own, for servers that"
        " ask for one. Replaced files are taken over as they come.",
    )
    key: Path | None = Field(default=None, description="Private key (PEM), where it is in a file of its own.")
    connect_timeout_s: float = Field(default=5.0, gt=0, description="Seconds that connecting may take.")
    statement_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds that a statement may take before it is a fault."
    )
    writers: int = Field(
        default=4, ge=1, le=100, description="Connections for writing: transactions at the same time."
    )
    readers: int = Field(default=4, ge=1, le=100, description="Connections for reading, beside those.")
