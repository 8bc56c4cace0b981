"""Settings come from the environment, and secrets from files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from services.cli.deployed.given import peppers
from services.cli.deployed.settings import ProcessSettings
from services.edge.settings import EdgeSettings
from shared.bus.kafka_settings import KafkaSettings
from shared.errors import FreeholdError

NAME = "FREEHOLD_KAFKA_PASSWORD"
FILE = f"{NAME}_FILE"


def test_a_secret_is_read_from_the_file_that_its_twin_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("quiet\n")
    monkeypatch.setenv(FILE, str(secret))
    found = KafkaSettings()
    assert found.password.get_secret_value() == "quiet"
    assert "quiet" not in repr(found)


def test_a_variable_and_its_file_together_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, "loud")
    monkeypatch.setenv(FILE, str(tmp_path / "secret"))
    with pytest.raises(SettingsError) as caught:
        KafkaSettings()
    assert f"{NAME} and {FILE} are both set" in str(caught.value.__cause__)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv(FILE, str(missing))
    with pytest.raises(SettingsError) as caught:
        KafkaSettings()
    assert str(caught.value.__cause__) == f"{FILE}={missing}: No such file or directory"


def test_an_alias_has_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = tmp_path / "port"
    port.write_text("8123")
    monkeypatch.setenv("FREEHOLD_HTTP_PORT_FILE", str(port))
    assert EdgeSettings().http_port == 8123


def test_lanes_and_manifests_are_lists_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_EDGE_LANES", "4, 5,6")
    monkeypatch.setenv("FREEHOLD_MANIFESTS", "a.yaml, b/c.yaml")
    assert EdgeSettings().lanes == (4, 5, 6)
    assert ProcessSettings().offered == (Path("a.yaml"), Path("b/c.yaml"))


@pytest.mark.parametrize(
    ("text", "versions"),
    [("x" * 32, {1}), (f"2={'x' * 32}", {2}), (f"1={'x' * 40} 2={'y' * 32}\n", {1, 2})],
)
def test_peppers_come_alone_or_by_version(
    text: str, versions: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_PEPPER", text)
    assert peppers(ProcessSettings()).keys() == versions


@pytest.mark.parametrize("text", ["", "short", f"a={'x' * 32}", f"1={'x' * 32} 1={'y' * 32}"])
def test_a_pepper_of_another_form_is_refused_without_being_told(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_PEPPER", text)
    with pytest.raises(FreeholdError) as caught:
        peppers(ProcessSettings())
    assert "FREEHOLD_PEPPER" in caught.value.message
    assert "xxx" not in caught.value.message
