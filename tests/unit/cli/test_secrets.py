"""`freehold secrets`: made once, kept for ever, and never made anew behind somebody's back."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.audit.keys import load_key
from services.cli.secrets import MADE, make_secrets, secrets
from shared.errors import FreeholdError
from shared.files import SystemFiles

FILES = SystemFiles()
ORIGIN = "freehold.local/audit"
NAMES = [name for name, _ in MADE]


def make(folder: Path, seed: int = 1) -> dict[str, bool]:
    return make_secrets(FILES, folder, ORIGIN, random.Random(seed))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_made_and_the_second_time_kept(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make(folder) == dict.fromkeys([*NAMES, "audit/log.key"], True)
    first = contents(folder)
    assert sorted(first) == sorted([*NAMES, "audit/log.key", "audit/log.pub"])
    assert len({first[name] for name in NAMES}) == len(NAMES)
    assert all(len(bytes.fromhex(first[name].decode())) == 32 for name in NAMES)
    assert (
        str(load_key(FILES, folder / "audit" / "log.key", ORIGIN).verifier)
        == first["audit/log.pub"].decode().strip()
    )

    assert make(folder, seed=2) == dict.fromkeys([*NAMES, "audit/log.key"], False)
    assert contents(folder) == first


def test_only_the_password_is_for_the_group_and_nothing_for_all(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(tmp_path)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in [*NAMES, "audit/log.key"]}
    assert modes == {"pepper": 0o600, "database-password": 0o640, "token": 0o600, "audit/log.key": 0o600}


@pytest.mark.parametrize("name", [*NAMES, "audit/log.key"])
@pytest.mark.parametrize("rest", [b"", b"\n", b"0123456789abcdef"])
def test_a_file_cut_short_is_refused_and_nothing_is_touched(tmp_path: Path, name: str, rest: bytes) -> None:
    make(tmp_path)
    (tmp_path / name).write_bytes(rest)
    before = contents(tmp_path)
    with pytest.raises(FreeholdError, match=f"{name} holds no secret; restore it from your backup"):
        make(tmp_path, seed=2)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_one_is_not_made_again(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FreeholdError, match=f"{name} is lost; restore it from your backup"):
        make(tmp_path, seed=2)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("kept", range(len(NAMES) + 1))
def test_a_making_that_was_broken_off_is_taken_up(tmp_path: Path, kept: int) -> None:
    make(tmp_path)
    whole = contents(tmp_path)
    for name in ["audit/log.pub", "audit/log.key", *reversed(NAMES)][: 2 + len(NAMES) - kept]:
        (tmp_path / name).unlink()
    made = make(tmp_path, seed=2)
    assert [name for name, new in made.items() if not new] == NAMES[:kept]
    after = contents(tmp_path)
    assert sorted(after) == sorted(whole)
    assert all(after[name] == whole[name] for name in NAMES[:kept])


def test_a_public_key_whose_secret_is_gone_ends_it(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "audit" / "log.key").unlink()
    with pytest.raises(FreeholdError, match="or the log ends here"):
        make(tmp_path, seed=2)


def test_the_command_names_files_and_shows_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = CliRunner().invoke(secrets, [str(folder)])
    assert first.exit_code == 0, first.output
    assert first.output.splitlines() == [f"{folder / name}: made" for name in [*NAMES, "audit/log.key"]]
    assert not any(text.decode().strip() in first.output for text in contents(folder).values())
    again = CliRunner().invoke(secrets, [str(folder)])
    assert again.output == first.output.replace("made", "kept")


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("x")
    found = CliRunner().invoke(secrets, [str(place / "secrets")])
    assert found.exit_code == 1
    assert found.output == f"freehold: {place / 'secrets'}: Not a directory\n"
