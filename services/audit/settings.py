"""Settings of audit."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class AuditSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_AUDIT_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_AUDIT_")

    origin: str = Field(
        default="freehold.local/audit",
        pattern=r"^[!-*,-~]{1,200}$",
        description="The log's name, unique in the world for a public log: a URL without scheme. Never "
        "changed afterwards; it is in the key and in every checkpoint.",
    )
    key_file: Path | None = Field(
        default=None,
        description="Private key in the signed-note form. Absent: `log.key` in the service's folder, made at "
        "the first start, which is for the embedded mode; elsewhere the key comes from outside.",
    )
    member: str = Field(
        default="audit", min_length=1, description="This replica's own name in its consumer group."
    )
    batch: int = Field(default=500, ge=1, le=10_000, description="Facts in one transaction, at most.")
    batch_interval_ms: int = Field(
        default=250,
        ge=0,
        le=60_000,
        description="Milliseconds between two transactions at least; a full batch does not wait.",
    )
    checkpoint_interval_ms: int = Field(
        default=500,
        ge=0,
        le=60_000,
        description="Milliseconds between two signed checkpoints at least; after a pause the first comes at "
        "once. Each rewrites the partial tiles of the right edge and waits for six disk flushes.",
    )
    gap_age_s: float = Field(
        default=60.0, gt=0, description="Seconds that a number may be missing before it is asked for again."
    )
    gap_period_s: float = Field(default=10.0, gt=0, description="Seconds between two looks for gaps.")
    receipt_patience_s: float = Field(
        default=1200.0,
        ge=0,
        description="Seconds after its start that a request which is not in the log is still called pending: "
        "its deadline, its settlement and the wait for a lost owner lie within.",
    )
