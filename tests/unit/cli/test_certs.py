"""`freehold certs`: what it makes, what it keeps, what it refuses to put at risk."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from services.cli.authority import CA, HOLDERS, IDENTITY, KEY, LIFE, Authority
from services.cli.certs import certs
from shared.files import SystemFiles
from shared.tls import TlsFiles, inspect
from tests.servers.identities import House, openssl

BOTH = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def run(command: str, folder: Path, *arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(certs, [command, str(folder), *arguments])
    assert done.exit_code == code, done.output
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name / IDENTITY).read_bytes())


def test_each_process_is_given_a_certificate_that_openssl_takes(tmp_path: Path) -> None:
    run("make", tmp_path, "--also", "kafka=broker-1.example", "--also", "kafka=10.0.0.7")
    assert {path.name for path in tmp_path.iterdir()} == {"authority", *HOLDERS}
    for name, holder in HOLDERS.items():
        made = certificate(tmp_path, name)
        usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert set(usage) == BOTH - ({ExtendedKeyUsageOID.SERVER_AUTH} if not holder.serves else set()) - (
            {ExtendedKeyUsageOID.CLIENT_AUTH} if not holder.calls else set()
        )
        for purpose, may in (("sslserver", holder.serves), ("sslclient", holder.calls)):
            checked = openssl(
                *("verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", name),
                *("-CAfile", str(tmp_path / name / CA), str(tmp_path / name / IDENTITY)),
            )
            assert (checked.returncode == 0) == may, checked.stdout + checked.stderr
        assert made.not_valid_after_utc - datetime.now(UTC) < LIFE
    also = certificate(tmp_path, "kafka").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert also.value.get_values_for_type(x509.DNSName) == ["kafka", "broker-1.example"]
    assert list(map(str, also.value.get_values_for_type(x509.IPAddress))) == ["10.0.0.7"]


def test_an_identity_signs_for_nobody_else(tmp_path: Path) -> None:
    run("make", tmp_path)
    basic = certificate(tmp_path, "edge").extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate(tmp_path, "edge").extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca) == (True, False)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, False, True)


def test_keys_are_for_their_owner_and_the_servers_of_others_for_their_group(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run("make", tmp_path)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name / IDENTITY).stat().st_mode) for name in HOLDERS}
    assert modes == {name: 0o640 if name in ("kafka", "postgres") else 0o600 for name in HOLDERS}
    assert stat.S_IMODE((tmp_path / "authority" / KEY).stat().st_mode) == 0o600
    folders = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("edge", "authority")}
    assert set(folders.values()) == {0o700}


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    first = run("make", tmp_path).output
    before = contents(tmp_path)
    second = run("make", tmp_path).output
    assert contents(tmp_path) == before
    assert (first.count("made"), second.count("kept")) == (1 + len(HOLDERS), len(HOLDERS))
    (tmp_path / "edge" / IDENTITY).unlink()
    run("make", tmp_path)
    assert {name for name, data in contents(tmp_path).items() if data != before.get(name)} == {
        f"edge/{IDENTITY}"
    }


def test_an_authority_that_is_kept_elsewhere_is_not_made_anew(tmp_path: Path) -> None:
    run("make", tmp_path)
    (tmp_path / "authority" / KEY).unlink()
    before = contents(tmp_path)
    for command in (("make",), ("renew", "--all"), ("authority",)):
        done = run(command[0], tmp_path, *command[1:], code=1)
        assert KEY in done.output
        assert done.output.count("\n") == 1
    assert contents(tmp_path) == before


def test_only_what_ends_soon_is_renewed_with_a_new_key_and_the_same_names(tmp_path: Path) -> None:
    run("make", tmp_path, "--also", "edge=edge.example")
    old = Authority(SystemFiles(), tmp_path, datetime.now(UTC) - LIFE + timedelta(days=20))
    old.issue("edge", ("edge.example",))
    before = contents(tmp_path)
    output = run("renew", tmp_path).output
    assert {name for name, data in contents(tmp_path).items() if data != before[name]} == {f"edge/{IDENTITY}"}
    assert "edge (edge, edge.example): renewed, 89 days left" in output.replace("90 days", "89 days")
    keys = [data.split(b"-----END PRIVATE KEY")[0] for data in (before[f"edge/{IDENTITY}"],)]
    assert not (tmp_path / "edge" / IDENTITY).read_bytes().startswith(keys[0])
    assert run("renew", tmp_path, "audit", "--all").output.startswith("audit (audit): renewed")


def test_list_says_what_is_left_and_ends_with_1_where_it_is_little(tmp_path: Path) -> None:
    house = House(tmp_path, ("edge", "audit"))
    run("list", tmp_path)
    assert "edge, audit" in run("list", tmp_path, "--within", "100", code=1).output
    house.expire("edge")
    output = run("list", tmp_path, code=1).output
    assert "edge (edge): has ended" in output
    assert output.rstrip().endswith("these end: edge")


def test_an_authority_is_replaced_in_steps_and_no_step_can_be_left_out(tmp_path: Path) -> None:
    house = House(tmp_path, ("edge", "audit"))
    first = inspect(house.files("edge"))
    run("authority", tmp_path)
    assert inspect(house.files("edge")).names == first.names, "the one before is still good"
    house.renew("edge")
    both = (tmp_path / "audit" / CA).read_bytes()
    assert both.count(b"BEGIN CERTIFICATE") == 2
    assert "audit's" in run("authority", tmp_path, "--finish", code=1).output
    assert (tmp_path / "audit" / CA).read_bytes() == both
    run("renew", tmp_path, "--all")
    run("authority", tmp_path, "--finish")
    assert (tmp_path / "audit" / CA).read_bytes().count(b"BEGIN CERTIFICATE") == 1
    for name in ("edge", "audit"):
        inspect(TlsFiles(tmp_path / "authority" / CA, tmp_path / name / IDENTITY))


@pytest.mark.parametrize("wrong", ["kafka", "kafka=", "nobody=host"])
def test_a_name_for_nobody_is_refused(tmp_path: Path, wrong: str) -> None:
    assert wrong in run("make", tmp_path, "--also", wrong, code=2).output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", [f"authority/{KEY}", f"authority/{CA}", f"edge/{IDENTITY}"])
def test_a_file_that_is_something_else_is_named_and_not_shown(tmp_path: Path, file: str) -> None:
    run("make", tmp_path)
    (tmp_path / file).write_text("something else: s3cret")
    output = run("renew", tmp_path, "--all", code=1).output
    assert file in output
    assert "s3cret" not in output
