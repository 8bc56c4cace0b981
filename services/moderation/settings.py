"""Settings of moderation."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class ModerationSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_MODERATION_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_MODERATION_")

    always: tuple[str, ...] = Field(
        default=("base",),
        description="Policies that judge every text, beside those of its organisation, project and key.",
    )
    inline_cost: int = Field(
        default=16_384,
        ge=0,
        description="Requests of one batch are screened on the event loop up to this many ASCII characters "
        "(others count eightfold), about 0.2 ms; the rest goes to a thread, which costs 0.1 ms by itself.",
    )
    idle_s: float = Field(default=30.0, gt=0, description="A stream without a delta for so long is dropped.")
    member: str = Field(
        default="moderation-0",
        min_length=1,
        description="Name in the consumer groups, the same after a restart; one for each replica.",
    )
