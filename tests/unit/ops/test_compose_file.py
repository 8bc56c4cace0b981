"""docker-compose.yml and the Dockerfile, as far as they can be held to their word without an engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.docker.select_packages import closure, entries, select
from services.cli.authority import HOLDERS
from services.cli.deployed.settings import ProcessSettings, WelcomeSettings
from services.cli.serve import SERVICES
from shared.bus.kafka_settings import KafkaSettings
from shared.rpc.tls_settings import RpcTlsSettings
from shared.storage.settings import DatabaseSettings
from shared.telemetry import TelemetrySettings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "ops" / "docker" / "Dockerfile").read_text()
LOCK = (ROOT / "requirements.txt").read_text()
SETS = (ROOT / "ops" / "docker" / "packages.toml").read_text()
ONCE = ("secrets", "certs", "topics", "migrate", "welcome")
SCALED = ("edge", "inference", "moderation")
LAPTOP_MIB = 8192
KINDS = (
    ProcessSettings,
    WelcomeSettings,
    RpcTlsSettings,
    KafkaSettings,
    DatabaseSettings,
    TelemetrySettings,
)


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


def test_each_process_is_given_its_own_key_and_nobody_elses() -> None:
    holders = {**dict.fromkeys(HOLDERS, ""), **dict.fromkeys((*ONCE[2:], "kafka-console"), "operator")}
    for name, container in CONTAINERS.items():
        given = {
            str(volume).partition(":")[0]
            for volume in container.get("volumes", ())
            if str(volume).startswith(("tls-", "authority"))
        }
        if name == "certs":
            assert given == {"authority", *(f"tls-{holder}" for holder in HOLDERS)}
        elif name in holders:
            assert given == {f"tls-{holders[name] or name}"}, name
        elif name != "secrets":
            assert not given, name


def test_only_the_door_and_what_people_look_at_have_a_way_out() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    outside = {name for name, one in CONTAINERS.items() if "outside" in one["networks"]}
    assert outside == {"proxy", "jaeger", "prometheus", "grafana", "kafka-console"}


def test_nobody_has_more_than_he_needs_of_the_kernel() -> None:
    for name, container in CONTAINERS.items():
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert container.get("read_only") or name in ("kafka", "kafka-console"), name
        assert "privileged" not in container, name


def test_what_the_broker_and_the_database_let_in() -> None:
    """A service by its certificate, over TLS; the broker's rights are those of the topics."""
    broker = (ROOT / "ops" / "kafka" / "broker" / "server.properties").read_text()
    listeners = re.search(r"^listener\.security\.protocol\.map=(.+)$", broker, re.MULTILINE)
    assert listeners
    assert {pair.partition(":")[2] for pair in listeners[1].split(",")} == {"SSL"}
    assert "ssl.client.auth=required" in broker
    assert "super.users=User:kafka;User:operator\n" in broker
    rules = (ROOT / "ops" / "postgres" / "server" / "pg_hba.conf").read_text().splitlines()
    over_the_network = [
        rule for rule in rules if not re.match(r"#|local |host +\S+ +\S+ +127\.0\.0\.1/32", rule)
    ]
    assert [rule.split() for rule in over_the_network] == [
        ["hostssl", "freehold", "freehold", "all", "cert", "map=services"]
    ]
    assert "--rights" in CONTAINERS["topics"]["command"]


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
    for kind in KINDS:
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
