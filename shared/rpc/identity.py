"""Certificates of gRPC: a server's towards anybody, and who a process is to the other services."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import grpc

from shared.errors import FreeholdError, Kind
from shared.tls import Certificate, TlsFiles, TlsInvalid, inspect, inspect_server

log = logging.getLogger(__name__)

CONNECTION_S = 3600
"""After that a client is asked anew for its certificate; calls that run go on meanwhile."""
GRACE_S = 60


@dataclass(frozen=True)
class Pem:
    """One state of the files."""

    authority: bytes
    """Empty where clients are not asked."""
    chain: bytes
    key: bytes
    certificate: Certificate


class ServerCertificate:
    """A server's towards clients that show none. It follows its files: who replaces them need restart
    nothing. New ones that are no good are said once, and the ones before them stay in use.
    """

    mutual = False

    def __init__(self, files: TlsFiles) -> None:
        """Raises `FreeholdError` NOT_READY for files that cannot be used."""
        self._files = files
        self._state = files.state()
        try:
            self._pem = self._read(files)
        except TlsInvalid as error:
            raise FreeholdError(Kind.NOT_READY, str(error)) from error

    def pem(self) -> Pem:
        """What is in force now; the same object as long as nothing was replaced."""
        if (state := self._files.state()) != self._state:
            self._state = state
            try:
                self._pem = self._read(self._files)
                log.info("TLS: %s taken over", self._files.certificate)
            except TlsInvalid as error:
                log.error("%s; the certificate before it stays in use", error)
        return self._pem

    @property
    def not_after(self) -> float:
        """When the certificate ends, in seconds since 1970."""
        return self.pem().certificate.not_after

    def server_credentials(self) -> grpc.ServerCredentials:
        """Each handshake sees the files of then."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._configuration, require_client_authentication=self.mutual
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pem = self.pem()
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.authority or None)

    def _read(self, files: TlsFiles) -> Pem:
        return _read(files, inspect_server(files))


class Identity(ServerCertificate):
    """Who this process is to the other services, as a server and as a client: whoever comes must show a
    certificate by the same authority.
    """

    mutual = True

    def _read(self, files: TlsFiles) -> Pem:
        if files.ca is None:
            raise TlsInvalid("TLS: a certificate and its authority are both needed")
        return _read(files, inspect(files))


def channel_credentials(pem: Pem) -> grpc.ChannelCredentials:
    """Of a client that shows its certificate, and believes only the authority."""
    return grpc.ssl_channel_credentials(pem.authority, pem.key, pem.chain)


def _read(files: TlsFiles, found: Certificate) -> Pem:
    chain = files.certificate
    if chain is None:
        raise TlsInvalid("TLS: no certificate is named")
    try:
        authority = files.ca.read_bytes() if files.ca else b""
        return Pem(authority, chain.read_bytes(), (files.key or chain).read_bytes(), found)
    except OSError as error:
        raise TlsInvalid(f"TLS: {error.filename}: {error.strerror}") from error
