"""docker-compose.yml and the Dockerfile, as far as they can be held to their word without an engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.docker.select_packages import closure, entries, select
from services.cli.deployed.settings import ProcessSettings, WelcomeSettings
from services.cli.serve import SERVICES
from shared.bus.kafka_settings import KafkaSettings
from shared.storage.settings import DatabaseSettings
from shared.telemetry import TelemetrySettings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "ops" / "docker" / "Dockerfile").read_text()
LOCK = (ROOT / "requirements.txt").read_text()
SETS = (ROOT / "ops" / "docker" / "packages.toml").read_text()
ONCE = ("secrets", "topics", "migrate", "welcome")
SCALED = ("edge", "inference", "moderation")
LAPTOP_MIB = 8192


def mib(limit: str) -> int:
    return int(limit[:-1]) * {"m": 1, "g": 1024}[limit[-1]]


def test_every_service_has_its_container_and_its_image_by_its_own_name() -> None:
    for name in SERVICES:
        assert CONTAINERS[name]["image"].startswith(f"freehold/{name}:")
        assert CONTAINERS[name]["build"]["target"] == name
        assert re.search(rf"^FROM \w+ AS {name}$", DOCKERFILE, re.MULTILINE)
        assert f'CMD ["serve", "{name}"]' in DOCKERFILE


def test_only_the_door_can_be_opened_to_other_machines() -> None:
    for name, container in CONTAINERS.items():
        for port in container.get("ports", ()):
            assert port.startswith("${FREEHOLD_LISTEN:-127.0.0.1}:" if name == "proxy" else "127.0.0.1:")


def test_what_is_ours_is_read_only_and_has_no_capability() -> None:
    for name in [*SERVICES, *ONCE, "proxy"]:
        assert CONTAINERS[name]["read_only"] is True
        assert CONTAINERS[name]["cap_drop"] == ["ALL"]
    assert "\nUSER 10001:10001\n" in DOCKERFILE


def test_no_secret_is_in_the_file_and_only_audit_is_given_the_logs_key() -> None:
    for name, container in CONTAINERS.items():
        environment = container.get("environment", {})
        assert not [
            key for key in environment if re.search("PASSWORD|TOKEN|PEPPER", key) and "_FILE" not in key
        ]
        given = any(str(volume).startswith("audit-key:") for volume in container.get("volumes", ()))
        assert given == (name in ("audit", "secrets"))


def test_all_limits_together_fit_a_laptop_with_two_of_each() -> None:
    watched = [name for name in CONTAINERS if name not in ONCE and name != "kafka-console"]
    total = sum(mib(CONTAINERS[name]["mem_limit"]) * (1 + (name in SCALED)) for name in watched)
    assert total <= LAPTOP_MIB


def test_fetched_images_are_named_by_an_exact_version() -> None:
    named = [one["image"] for one in CONTAINERS.values() if not one["image"].startswith("freehold/")]
    arguments = CONTAINERS["secrets"]["build"]["args"]
    named += [arguments["PYTHON"], arguments["DEBIAN"]]
    fetched = [re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", image) for image in named]
    assert len(fetched) == 9
    assert all(re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*", image) for image in fetched), fetched
    bases = re.findall(r"^ARG (?:PYTHON|DEBIAN)=(.+)$", DOCKERFILE, re.MULTILINE)
    assert sorted(bases) == sorted(fetched[-2:])


@pytest.mark.parametrize("name", [*SERVICES, *ONCE])
def test_every_variable_is_a_setting_that_somebody_reads(name: str) -> None:
    known = {"FREEHOLD_EDGE_HTTP_HOST", "FREEHOLD_EDGE_GRPC_HOST", "FREEHOLD_AUDIT_KEY_FILE"}
    for kind in (ProcessSettings, WelcomeSettings, KafkaSettings, DatabaseSettings, TelemetrySettings):
        prefix = str(kind.model_config["env_prefix"])
        known |= {f"{prefix}{field}".upper() for field in kind.model_fields}
    for variable in CONTAINERS[name]["environment"]:
        assert variable in known or variable.removesuffix("_FILE") in known, variable


def test_each_set_names_packages_of_the_lock_and_shares_none_with_the_common_layer() -> None:
    sets = tomllib.loads(SETS)["sets"]
    common = set(entries(select(LOCK, SETS, "common")))
    for name, wanted in sets.items():
        assert f"./install_set {name}\n" in DOCKERFILE
        found = set(entries(select(LOCK, SETS, name)))
        assert found
        if name != "common":
            assert not found & common
            assert set(wanted) - common <= found


def test_an_entry_comes_with_its_hashes_and_with_all_that_it_needs() -> None:
    chosen = entries(select(LOCK, SETS, "edge"))
    assert "fastapi" in chosen
    assert all("--hash=sha256:" in entry for entry in chosen.values())
    found = entries(LOCK)
    assert closure(found, ["fastapi"], set()) > {"fastapi", "starlette", "pydantic", "pydantic-core"}
    assert "hf-xet" not in entries(select(LOCK, SETS, "tokenizer"))
    with pytest.raises(KeyError):
        closure(found, ["no-such-package"], set())
