"""TLS whose files may be replaced while the process runs: each handshake uses what is there then."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

log = logging.getLogger(__name__)

_HANDSHAKE_TURNS = 8
"""TLS 1.3 takes three; a bound, so that a defect is no endless loop."""


class TlsInvalid(Exception):
    """The files hold nothing that TLS can be done with; the text names them, and never shows them."""


class TlsFiles(NamedTuple):
    """PEM files. Certificate and key may be one file, which is then replaced in one step."""

    ca: Path | None
    """Authorities that the other side's certificate is checked against; None = the system's."""
    certificate: Path | None
    """Own certificate and those between it and an authority; None = none is shown."""
    key: Path | None = None
    """Of the certificate; None = in the certificate's file."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that are named."""
        return tuple(path for path in self if path is not None)

    def state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Changes when one of them is replaced; a file that is missing is None."""
        return tuple(_state(path) for path in self.paths)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For a client that checks the server's chain and name. Raises `TlsInvalid`."""
    return _Renewed.made(files, ssl.Purpose.SERVER_AUTH)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a server; with `ca`, whoever comes must show a certificate by it. Raises `TlsInvalid`."""
    return _Renewed.made(files, ssl.Purpose.CLIENT_AUTH)


class _Renewed(ssl.SSLContext):
    """Takes over new files before the next handshake; where they are no good, it goes on with the old ones
    and says so once. An authority once trusted stays so until the process ends.
    """

    _files: TlsFiles
    _state: tuple[object, ...]

    @classmethod
    def made(cls, files: TlsFiles, purpose: ssl.Purpose) -> Self:
        """Of these files as they are now. Raises `TlsInvalid`."""
        client = purpose is ssl.Purpose.SERVER_AUTH
        context = cls(ssl.PROTOCOL_TLS_CLIENT if client else ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not client and files.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        context._files, context._state = files, files.state()
        if client and files.ca is None:
            context.load_default_certs(purpose)
        context._load()
        return context

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """As every event loop asks for a handshake."""
        if (state := self._files.state()) != self._state:
            self._state = state
            try:
                # Into another one first: half a change would leave this one without a certificate.
                type(self)(ssl.PROTOCOL_TLS_CLIENT)._take(self._files)
                self._load()
                log.info("TLS: %s taken over", _names(self._files))
            except TlsInvalid as error:
                log.error("%s; the files before it stay in use", error)
        return super().wrap_bio(*arguments, **named)

    def _load(self) -> None:
        self._take(self._files)

    def _take(self, files: TlsFiles) -> None:
        at = files.ca
        try:
            if files.ca is not None:
                self.load_verify_locations(files.ca)
            if files.certificate is not None:
                at = files.certificate
                self.load_cert_chain(at, files.key or at, password=_no_password)
        except (OSError, ValueError) as error:
            # Which of two files it is, certificate or key, the library does not say.
            names = f"{at} with {files.key}" if at == files.certificate and files.key else f"{at}"
            raise TlsInvalid(f"TLS: {names}: {getattr(error, 'strerror', None) or error}") from error


class Certificate(NamedTuple):
    """What a certificate says of whose it is, and until when."""

    names: frozenset[str]
    """Its DNS names."""
    not_after: float
    """Seconds since 1970."""


def inspect(files: TlsFiles) -> Certificate:
    """Check certificate, key and authorities together, by a handshake of both sides in memory: the key
    fits, the chain ends at one of the authorities, the certificate may be shown by a client, and it is in
    force. Raises `TlsInvalid`.
    """
    server = _Renewed.made(files, ssl.Purpose.CLIENT_AUTH)
    client = _Renewed.made(files, ssl.Purpose.SERVER_AUTH)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    _, found = _shaken(client, server, files)
    return found


def inspect_server(files: TlsFiles) -> Certificate:
    """Check key and certificate of a server that asks for none: the key fits, the certificate may be shown by
    a server, and it is in force. Whom it is by is its clients' matter. Raises `TlsInvalid`.
    """
    server = _Renewed.made(TlsFiles(None, files.certificate, files.key), ssl.Purpose.CLIENT_AUTH)
    client = _Renewed.made(TlsFiles(files.certificate, None), ssl.Purpose.SERVER_AUTH)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is its own authority here
    found, _ = _shaken(client, server, files)
    return found


def _shaken(
    client: ssl.SSLContext, server: ssl.SSLContext, files: TlsFiles
) -> tuple[Certificate, Certificate]:
    """What each side has seen of the other: the client first. Raises `TlsInvalid`."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    try:
        _finish(sides)
    except ssl.SSLCertVerificationError as error:
        raise TlsInvalid(f"TLS: {_names(files)}: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise TlsInvalid(f"TLS: {_names(files)}: {error.reason or error}") from error
    first, second = (_certificate(side.getpeercert() or {}) for side in sides)
    return first, second


def _finish(sides: Iterable[ssl.SSLObject]) -> None:
    waiting = list(sides)
    for _ in range(_HANDSHAKE_TURNS):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
        if not waiting:
            return
    raise ssl.SSLError("the handshake does not end")


def _certificate(told: Mapping[str, Any]) -> Certificate:
    """As Python tells of one; of one that was not asked for it tells nothing."""
    if not told:
        return Certificate(frozenset(), 0.0)
    names = frozenset(str(value) for kind, value in told.get("subjectAltName", ()) if kind == "DNS")
    return Certificate(names, float(ssl.cert_time_to_seconds(str(told["notAfter"]))))


def _names(files: TlsFiles) -> str:
    return " with ".join(map(str, files.paths))


def _no_password() -> str:
    """Else a key with a password would have the process ask a person."""
    raise ValueError("the key has a password; it is to have none")


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
