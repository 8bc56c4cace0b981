"""The bill of materials, the licences, the locks and the advisories: each can say no."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.supply.advisories import CHECKED, FOUND, NOT_CHECKED, hits, main
from ops.supply.licences import complaint as licence_complaint
from ops.supply.licences import main as check_licences
from ops.supply.locks import complaints_of_maven, complaints_of_npm, complaints_of_pins, complaints_of_pip
from ops.supply.locks import main as check_locks
from ops.supply.parts import LOCKS, ROOT, packages, shipped
from ops.supply.sbom import complaint, document

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_the_bill_names_every_pin_that_ships_and_fits_the_schema() -> None:
    text = document(NOW)
    assert complaint(text) == ""
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    named = {part["purl"]: part for part in bill["components"] if part["type"] == "library"}
    assert set(named) == {f"pkg:pypi/{one.name}@{one.version}" for one in shipped()}
    assert all(part["licenses"] for part in named.values())
    kinds = {part["type"] for part in bill["components"]}
    assert kinds == {"library", "machine-learning-model", "container"}
    grpc = next(part for purl, part in named.items() if purl.startswith("pkg:pypi/grpcio@"))
    assert {"name": "freehold:image-set", "value": "common"} in grpc["properties"]


def test_the_same_locks_give_the_same_bill() -> None:
    assert document(NOW) == document(NOW)


def test_a_bill_that_does_not_fit_is_refused() -> None:
    bill = json.loads(document(NOW))
    bill["components"][0]["type"] = "spell"
    assert "spell" in complaint(json.dumps(bill))


def test_what_ships_may_ship() -> None:
    check_licences()


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("LGPL-2.1-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("SSPL-1.0", False),
        ("ask the author", False),
        ("", False),
    ],
)
def test_a_licence_counts_as_it_is_put_together(expression: str, good: bool) -> None:
    assert (licence_complaint("package", expression) == "") == good


def test_what_the_design_refuses_is_refused_under_any_licence() -> None:
    assert "GPL" in licence_complaint("Unidecode", "MIT")


def test_the_locks_hold_pins_and_hashes_alone() -> None:
    check_locks()
    for lock in LOCKS:
        assert packages(ROOT / lock)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://pypi.example/simple",
        "--extra-index-url https://pypi.example/simple",
        "--find-links wheels",
        "--trusted-host pypi.example",
        "name @ https://files.example/name-1.0.whl \\",
        "git+https://code.example/name.git#egg=name",
        "-e .",
        "name>=1.0",
        "    --hash=md5:0123456789abcdef0123456789abcdef",
    ],
)
def test_anything_else_in_a_lock_is_told(line: str) -> None:
    good = "name==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n    # via other\n"
    assert not list(complaints_of_pip("lock", good))
    assert [text.partition(":")[0] for text in complaints_of_pip("lock", good + line + "\n")] == ["lock"]


def test_a_pin_without_a_hash_is_told(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("one==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\ntwo==2.0\n")
    assert list(complaints_of_pins("lock", lock)) == ["lock: two has no hash"]


def test_npm_and_maven_are_held_to_the_same() -> None:
    npm: dict[str, Any] = {"packages": {"": {}, "node_modules/a": {"integrity": "sha512-x"}}}
    assert not list(complaints_of_npm("lock", json.dumps(npm)))
    npm["packages"]["node_modules/b"] = {"integrity": "sha1-x", "resolved": "https://npm.example/b"}
    assert len(list(complaints_of_npm("lock", json.dumps(npm)))) == 2
    assert list(complaints_of_maven("pom", "<version>[1,2)</version><repositories/>"))


def advisory(**affected: object) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": "Some_Package"}
    return {"id": "OSV-1", "summary": "bad", "affected": [{"package": package, **affected}]}


def between(*events: dict[str, str]) -> dict[str, Any]:
    return advisory(ranges=[{"type": "ECOSYSTEM", "events": list(events)}])


@pytest.mark.parametrize(
    ("found", "hit"),
    [
        (advisory(versions=["1.4.0", "1.5.0"]), True),
        (advisory(versions=["1.4.0"]), False),
        (between({"introduced": "0"}, {"fixed": "1.5.1"}), True),
        (between({"introduced": "0"}, {"fixed": "1.5.0"}), False),
        (between({"introduced": "1.6"}), False),
        (between({"introduced": "0"}, {"last_affected": "1.5.0"}), True),
        (between({"introduced": "0"}, {"last_affected": "1.4.9"}), False),
        (between({"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.5"}), True),
        ({**advisory(versions=["1.5.0"]), "withdrawn": "2026-01-01T00:00:00Z"}, False),
    ],
)
def test_an_advisory_hits_the_versions_that_it_names(found: dict[str, Any], hit: bool) -> None:
    assert bool(list(hits([found], {"some-package": "1.5.0"}))) == hit
    assert not list(hits([found], {"another": "1.5.0"}))


def test_the_audit_says_when_it_has_checked_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_text("no archive")
    for given in (
        [],
        [""],
        [str(tmp_path / "empty")],
        [str(tmp_path / "missing")],
        [str(tmp_path / "broken.zip")],
    ):
        assert main(given) == NOT_CHECKED
        assert "nothing was checked" in capsys.readouterr().err


def test_the_audit_of_the_locks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pinned = next(one for one in packages(ROOT / "requirements.txt") if one.name == "starlette")
    archive = tmp_path / "all.zip"
    for name, status in (("starlette", FOUND), ("no-such-package", CHECKED)):
        found = advisory(versions=[pinned.version])
        found["affected"][0]["package"]["name"] = name
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("OSV-1.json", json.dumps(found))
        assert main([str(archive)]) == status
        assert re.search(rf"1 advisories, \d+ pins, {int(status == FOUND)} hits", capsys.readouterr().out)
