"""What keeps a platform from starting: one clear line within seconds, and status 1."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import MODEL, ROOT, Running, freehold, settings, until

MANIFEST = ROOT / "ops" / "models" / f"{MODEL}.yaml"
PACK = ROOT / "ops" / "policies" / "base.yaml"


def refused(home: Path, said: str, **environment: str) -> None:
    """A start ends within seconds, with status 1 and one line that holds `said`."""
    begun = time.monotonic()
    done = freehold("up", environment=settings(home, "synthetic", environment))
    assert time.monotonic() - begun < 30.0
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("freehold: ")
    assert said in line
    assert "ready" not in done.stdout


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A platform that is there already."""
    running = Running(tmp_path_factory.mktemp("calm") / "home", "synthetic")
    yield running
    assert running.stop() == 0, running.output


@pytest.mark.parametrize("setting", ["FREEHOLD_HTTP_PORT", "FREEHOLD_GRPC_PORT"])
def test_a_used_port_is_named_with_its_setting(calm: Running, tmp_path: Path, setting: str) -> None:
    used = {
        "FREEHOLD_HTTP_PORT": calm.base_url.removesuffix("/v1").rpartition(":")[2],
        "FREEHOLD_GRPC_PORT": calm.grpc_target.rpartition(":")[2],
    }[setting]
    refused(tmp_path / "home", f"127.0.0.1:{used}: Address already in use; set {setting}", **{setting: used})


def test_a_home_serves_one_process(calm: Running) -> None:
    refused(calm.home, f"{calm.home} is in use by another Freehold process")
    calm.command("status")


def changed_manifest(folder: Path, pattern: str, replacement: str) -> Path:
    """The manifest with one thing wrong."""
    text, count = re.subn(pattern, replacement, MANIFEST.read_text(), flags=re.MULTILINE)
    assert count == 1
    file = folder / "manifest.yaml"
    file.write_text(text)
    return file


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "home", "/none.yaml: No such file", FREEHOLD_MANIFEST=str(tmp_path / "none.yaml"))


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    file = changed_manifest(tmp_path, r"^weights:\n(  .*\n)+", "weights:\n  path: none.gguf\n")
    refused(tmp_path / "home", "none.gguf does not exist", FREEHOLD_MANIFEST=str(file))


@pytest.mark.parametrize("part", ["weights", "tokenizer", "template"])
def test_weights_that_are_not_the_manifests_are_not_served(tmp_path: Path, part: str) -> None:
    file = changed_manifest(tmp_path, rf"^{part}_sha256: .*$", f"{part}_sha256: {'f' * 64}")
    refused(tmp_path / "home", f"the {part} digest of", FREEHOLD_MANIFEST=str(file))


def test_a_pack_that_does_not_load_keeps_the_platform_from_starting(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("rules: [")
    refused(tmp_path / "home", "broken.yaml: not YAML", FREEHOLD_POLICIES=str(tmp_path))
    (tmp_path / "broken.yaml").write_text(PACK.read_text().replace("rules:", "rulez:"))
    refused(tmp_path / "home", "broken.yaml: ", FREEHOLD_POLICIES=str(tmp_path))


def test_without_any_pack_nothing_is_served(tmp_path: Path) -> None:
    refused(tmp_path / "home", "holds no file *.yaml", FREEHOLD_POLICIES=str(tmp_path))


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", f"{tmp_path}/file: File exists")
    refused(Path("/proc/freehold"), "/proc/freehold: No such file")


@pytest.mark.parametrize(
    ("name", "value"),
    [("ENGINE", "steam"), ("HTTP_PORT", "many"), ("BILLING_MAX_RECORDS", "0"), ("EDGE_BODY_S", "-1")],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    refused(tmp_path / "home", f"FREEHOLD_{name}={value}: input should be", **{f"FREEHOLD_{name}": value})


def test_a_home_that_lost_its_secret_or_a_database_is_not_made_anew(start: Start) -> None:
    running = start()
    home = running.home
    assert running.stop() == 0
    pepper = home / "secrets" / "pepper-1"
    secret = pepper.read_bytes()
    pepper.unlink()
    refused(home, "pepper-1 is lost; restore it")
    pepper.write_bytes(secret)
    for name in ("bus.db", "billing.db"):
        whole = (home / name).read_bytes()
        (home / name).write_bytes(b"not a database at all, but long enough to look like one" * 99)
        refused(home, f"{name}: ")
        (home / name).write_bytes(whole)


def test_ctrl_c_during_the_start_ends_it_quietly(start: Start) -> None:
    running = start(wait=False)
    until(lambda: "starting tokenizer" in running.output, "the start to get going")
    begun = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - begun < 15.0
    assert "Traceback" not in running.output
    assert "ready" not in running.output
