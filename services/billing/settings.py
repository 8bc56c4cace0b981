"""Settings of billing."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import GIVEN, Settings


class BillingSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_BILLING_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_BILLING_")

    member: str = Field(
        default="billing-0",
        min_length=1,
        description="Name of this replica in its consumer groups; keeps its partitions over a restart.",
    )
    sole_process: bool = Field(
        default=True,
        json_schema_extra=GIVEN,
        description="Every edge and worker lives in this process: what an earlier life left open has no"
        " owner and is ended at start. False wherever services run apart.",
    )
    sweep_period_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds between looks for reservations and waits that are over.",
    )
    watch_period_s: float = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="Seconds between looks at the books for an operator's figures.",
    )
    settle_interval_ms: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="Milliseconds between two transactions of settlements at least; a full batch does not"
        " wait. Nobody waits for a settlement, and reserves share the database with it.",
    )
    max_records: int = Field(
        default=500, ge=1, le=10_000, description="Most records taken at once, and so in one transaction."
    )
