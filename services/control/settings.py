"""Settings of control."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import GIVEN, Settings


class ControlSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_CONTROL_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_CONTROL_")

    marker_period_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds between markers; readers take a late one for a silent control.",
    )
    lanes: int = Field(
        default=8, ge=1, json_schema_extra=GIVEN, description="Partitions of replies, frames and completions."
    )
    seats: int = Field(default=8, ge=1, json_schema_extra=GIVEN, description="Partitions of work.")
    claim_period_s: float = Field(
        default=60.0, gt=0, description="Seconds after which a number not renewed is free."
    )
