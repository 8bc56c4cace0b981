"""What settings and their faults say of secrets: nothing."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from services.cli.deployed.given import peppers, tokens
from services.cli.deployed.settings import ProcessSettings
from services.cli.faults import faults
from shared.bus.kafka_settings import KafkaSettings
from shared.errors import FreeholdError
from shared.settings import Settings
from shared.storage.settings import DatabaseSettings

SECRET = "canary-secret-of-the-settings"
"""Shorter than a token may be."""


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        (ProcessSettings, "FREEHOLD_TOKEN"),
        (ProcessSettings, "FREEHOLD_PEPPER"),
        (KafkaSettings, "FREEHOLD_KAFKA_PASSWORD"),
        (DatabaseSettings, "FREEHOLD_DATABASE_PASSWORD"),
    ],
)
def test_no_form_of_settings_shows_a_secret(
    kind: type[Settings], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, SECRET)
    found = kind()
    field = variable.removeprefix(str(kind.model_config["env_prefix"])).lower()
    assert getattr(found, field).get_secret_value() == SECRET
    for shown in (repr(found), str(found), str(found.model_dump()), found.model_dump_json()):
        assert SECRET not in shown


def test_every_secret_of_the_settings_is_typed_as_one() -> None:
    for kind in (ProcessSettings, KafkaSettings, DatabaseSettings):
        for name, field in kind.model_fields.items():
            if any(word in name for word in ("password", "token", "pepper", "secret")):
                assert field.annotation is SecretStr, f"{kind.__name__}.{name}"


def test_a_secret_that_does_not_fit_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_TOKEN", SECRET)
    monkeypatch.setenv("FREEHOLD_PEPPER", f"1={SECRET} 1={SECRET}")
    for check in (tokens, peppers):
        with pytest.raises(FreeholdError) as failed:
            check(ProcessSettings())
        assert SECRET not in failed.value.message
    with pytest.raises(ValidationError) as refused:
        ProcessSettings.model_validate({"token": [SECRET], "rpc_port": "x"})
    assert SECRET not in faults(refused.value)
