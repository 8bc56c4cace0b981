"""An authority of the installation's own, and a certificate by it for each of its processes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import FreeholdError, Kind
from shared.files import Files

AUTHORITY: Final = "authority"
CA: Final = "ca.pem"
KEY: Final = "ca.key"
IDENTITY: Final = "identity.pem"
"""Private key and certificate in one file, so that both are replaced in one step."""
LIFE: Final = timedelta(days=90)
AUTHORITY_LIFE: Final = timedelta(days=3650)
SKEW: Final = timedelta(minutes=5)
"""That clocks may differ by when a certificate is first shown."""


class Holder(NamedTuple):
    """Whom a certificate is made for; the name is the Kafka principal and the PostgreSQL role's map too."""

    name: str
    serves: bool
    calls: bool
    others: bool = False
    """A server that is no user of ours, and reads its file through the folder's group."""


HOLDERS: Final = {
    holder.name: holder
    for holder in (
        *(
            Holder(name, serves=True, calls=True)
            for name in ("edge", "control", "tokenizer", "moderation", "inference", "billing", "audit")
        ),
        Holder("operator", serves=False, calls=True),
        Holder("kafka", serves=True, calls=True, others=True),
        Holder("postgres", serves=True, calls=False, others=True),
    )
}


@dataclass(frozen=True)
class Issued:
    """A certificate as it lies in a folder."""

    name: str
    names: tuple[str, ...]
    """DNS names and addresses that it is made out to."""
    not_after: datetime


class Authority:
    """Signs for one folder: `authority/` holds its key, and each holder's folder what that process is given.

    P-256, which Kafka's Java, PostgreSQL's OpenSSL and gRPC's BoringSSL all take.
    """

    def __init__(self, files: Files, folder: Path, now: datetime) -> None:
        self._files = files
        self._folder = folder
        self._now = now

    @property
    def exists(self) -> bool:
        """Whether its key is here."""
        return self._files.exists(self._folder / AUTHORITY / KEY)

    def found(self) -> None:
        """Make it. Raises `FreeholdError` where certificates of one that is not here are."""
        if orphans := [name for name in HOLDERS if self._files.exists(self._path(name))]:
            raise FreeholdError(
                Kind.NOT_READY,
                f"{self._folder / AUTHORITY / KEY} is missing, and certificates by it are there"
                f" ({', '.join(orphans)}): restore it from your backup, or empty the folder",
            )
        self._put_authority(())

    def replace(self) -> None:
        """Make another one, which signs from now on; the one before is still trusted."""
        self._load()
        self._put_authority(self._trusted()[:1])
        self._spread()

    def finish(self) -> None:
        """Trust the newest alone. Raises `FreeholdError` while a certificate by an older one is in use."""
        newest, *_ = self._trusted()
        for name in self.holders():
            try:
                self._certificate(name).verify_directly_issued_by(newest)
            except (ValueError, TypeError, InvalidSignature):
                raise FreeholdError(
                    Kind.NOT_READY, f"{name}'s is still by the authority before: renew it first"
                ) from None
        self._put(AUTHORITY, CA, _pem(newest), 0o644)
        self._spread()

    def issue(self, name: str, more: Iterable[str] = ()) -> Issued:
        """A new key and certificate in place of any before, for the holder's name and these beside it."""
        holder = HOLDERS[name]
        issuer, issuer_key = self._load()
        key = ec.generate_private_key(ec.SECP256R1())
        names = tuple(dict.fromkeys((name, *more)))
        usages = [
            usage
            for usage, wanted in (
                (ExtendedKeyUsageOID.SERVER_AUTH, holder.serves),
                (ExtendedKeyUsageOID.CLIENT_AUTH, holder.calls),
            )
            if wanted
        ]
        made = (
            self._begun(
                _subject(name), issuer.subject, key, min(self._now + LIFE, issuer.not_valid_after_utc)
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
            )
            .sign(issuer_key, hashes.SHA256())
        )
        self._put(name, CA, self._files.read(self._folder / AUTHORITY / CA), 0o644)
        self._put(name, IDENTITY, _secret(key) + _pem(made), 0o640 if holder.others else 0o600)
        return _issued(name, made)

    def holders(self) -> list[str]:
        """Who has a certificate here."""
        return [name for name in HOLDERS if self._files.exists(self._path(name))]

    def issued(self, name: str) -> Issued:
        """The holder's, as it lies there. Raises `FreeholdError`."""
        return _issued(name, self._certificate(name))

    def own(self) -> Issued:
        """The authority's own."""
        return _issued(AUTHORITY, self._trusted()[0])

    def _path(self, name: str) -> Path:
        return self._folder / name / IDENTITY

    def _certificate(self, name: str) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self._files.read(self._path(name)))
        except ValueError as error:
            raise _unfit(self._path(name)) from error

    def _trusted(self) -> list[x509.Certificate]:
        """Newest first."""
        path = self._folder / AUTHORITY / CA
        try:
            return x509.load_pem_x509_certificates(self._files.read(path))
        except ValueError as error:
            raise _unfit(path) from error

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        path = self._folder / AUTHORITY / KEY
        try:
            key = serialization.load_pem_private_key(self._files.read(path), password=None)
        except (ValueError, TypeError) as error:
            raise _unfit(path) from error
        certificate = self._trusted()[0]
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise FreeholdError(Kind.NOT_READY, f"{path} is not the key of {CA} beside it")
        return certificate, key

    def _put_authority(self, before: Iterable[x509.Certificate]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"Freehold authority {self._now:%Y-%m-%d}")
        made = (
            self._begun(subject, subject, key, self._now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self._put(AUTHORITY, CA, b"".join(map(_pem, (made, *before))), 0o644)
        self._put(AUTHORITY, KEY, _secret(key), 0o600)

    def _spread(self) -> None:
        trusted = self._files.read(self._folder / AUTHORITY / CA)
        for name in self.holders():
            self._put(name, CA, trusted, 0o644)

    def _put(self, name: str, file: str, data: bytes, mode: int) -> None:
        others = name in HOLDERS and HOLDERS[name].others
        self._files.make_folder(self._folder / name, 0o750 if others else 0o700)
        self._files.write_durably(self._folder / name / file, data, mode)

    def _begun(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - SKEW)
            .not_valid_after(end)
        )


def _issued(name: str, certificate: x509.Certificate) -> Issued:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Issued(name, (), certificate.not_valid_after_utc)
    names = (*found.get_values_for_type(x509.DNSName), *found.get_values_for_type(x509.IPAddress))
    return Issued(name, tuple(map(str, names)), certificate.not_valid_after_utc)


def _unfit(path: Path) -> FreeholdError:
    return FreeholdError(Kind.NOT_READY, f"{path} is not what this command has made")


def _subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def now_of(time_ns: int) -> datetime:
    """A clock's time as certificates have it."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
