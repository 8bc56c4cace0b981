"""The log's key on disk."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from services.audit.keys import KeyInvalid, keep_key, load_key
from services.audit.tlog.note import parse_verifier
from shared.files import SystemFiles

FILES = SystemFiles()
ORIGIN = "example.com/log"


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    made = keep_key(FILES, folder, ORIGIN, random.Random(1))
    assert stat.S_IMODE((folder / "log.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert parse_verifier((folder / "log.pub").read_text().removesuffix("\n")) == made.verifier
    assert keep_key(FILES, folder, ORIGIN, random.Random(2)) == made
    assert load_key(FILES, folder / "log.key", ORIGIN) == made


def test_the_public_key_is_written_again_where_it_is_lost_or_another(tmp_path: Path) -> None:
    made = keep_key(FILES, tmp_path, ORIGIN, random.Random(1))
    for damage in ("", "another\n"):
        (tmp_path / "log.pub").write_text(damage)
        keep_key(FILES, tmp_path, ORIGIN, random.Random(2))
        assert (tmp_path / "log.pub").read_text() == f"{made.verifier}\n"


def test_unusable_keys_are_never_replaced(tmp_path: Path) -> None:
    keep_key(FILES, tmp_path, ORIGIN, random.Random(1))
    with pytest.raises(KeyInvalid, match="this log is"):
        keep_key(FILES, tmp_path, "example.com/other", random.Random(2))
    secret = (tmp_path / "log.key").read_text()
    for damage in (b"", b"nonsense", b"\xff\xfe", secret.encode()[:-6]):
        (tmp_path / "log.key").write_bytes(damage)
        with pytest.raises(KeyInvalid) as failure:
            keep_key(FILES, tmp_path, ORIGIN, random.Random(2))
        assert secret[-20:-6] not in str(failure.value)
        assert (tmp_path / "log.key").read_bytes() == damage


def test_a_lost_key_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    keep_key(FILES, tmp_path, ORIGIN, random.Random(1))
    (tmp_path / "log.key").unlink()
    with pytest.raises(KeyInvalid, match="restore it"):
        keep_key(FILES, tmp_path, ORIGIN, random.Random(2))
    assert not (tmp_path / "log.key").exists()


def test_a_missing_key_file_and_an_unusable_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid, match="cannot be read"):
        load_key(FILES, tmp_path / "absent", ORIGIN)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KeyInvalid, match="cannot hold"):
        keep_key(FILES, tmp_path / "file" / "audit", ORIGIN, random.Random(1))
