"""What every settings class stands on: the environment, and files for what must not stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic.config import JsonDict
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

GIVEN: JsonDict = {"given": True}
"""`json_schema_extra` of a field that the process decides by its own settings: no operator sets it."""

SUFFIX = "_file"
"""Names come in lower case here."""


class Settings(BaseSettings):
    """Frozen, every field documented. A field read from `NAME` is read from the file that `NAME_FILE`
    names as well, as container platforms hand secrets over; both together are refused.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the files that it names."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _Files(settings_cls)


class _Files(EnvSettingsSource):
    """The values of fields whose files the environment names."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.env_vars = _Contents(self.env_vars)


class _Contents(Mapping[str, str | None]):
    """By a variable's name, what is in the file that its `_FILE` twin names; read only when asked for."""

    def __init__(self, environment: Mapping[str, str | None]) -> None:
        self._environment = environment

    def __getitem__(self, variable: str) -> str:
        path = self._environment[f"{variable}{SUFFIX}"]
        shown = f"{variable}{SUFFIX}".upper()
        if variable in self._environment:
            raise SettingsError(f"{variable.upper()} and {shown} are both set; one of them is enough")
        try:
            return Path(path or "").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise SettingsError(f"{shown}={path}: {reason}") from error

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(SUFFIX) for name in self._environment if name.endswith(SUFFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)
