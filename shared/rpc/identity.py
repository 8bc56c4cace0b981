"""Who this process is on the internal gRPC: its certificate, and the authority of all."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import grpc

from shared.errors import FreeholdError, Kind
from shared.tls import Certificate, TlsFiles, TlsInvalid, inspect

log = logging.getLogger(__name__)

CONNECTION_S = 3600
"""After that a client is asked anew for its certificate; calls that run go on meanwhile."""
GRACE_S = 60


@dataclass(frozen=True)
class Pem:
    """One state of the files."""

    authority: bytes
    chain: bytes
    key: bytes
    certificate: Certificate


class Identity:
    """Follows its files: who replaces them need restart nothing. New ones that are no good are said once,
    and the ones before them stay in use.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises `FreeholdError` NOT_READY for files that cannot be used."""
        self._files = files
        self._state = files.state()
        try:
            self._pem = _read(files)
        except TlsInvalid as error:
            raise FreeholdError(Kind.NOT_READY, str(error)) from error

    def pem(self) -> Pem:
        """What is in force now; the same object as long as nothing was replaced."""
        if (state := self._files.state()) != self._state:
            self._state = state
            try:
                self._pem = _read(self._files)
                log.info("this process has a new certificate for calls between services")
            except TlsInvalid as error:
                log.error("%s; the certificate before it stays in use", error)
        return self._pem

    @property
    def not_after(self) -> float:
        """When the certificate ends, in seconds since 1970."""
        return self.pem().certificate.not_after

    def server_credentials(self) -> grpc.ServerCredentials:
        """Whoever comes must show a certificate by the authority. Each handshake sees the files of then."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._configuration, require_client_authentication=True
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pem = self.pem()
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.authority)


def channel_credentials(pem: Pem) -> grpc.ChannelCredentials:
    """Of a client that shows its certificate, and believes only the authority."""
    return grpc.ssl_channel_credentials(pem.authority, pem.key, pem.chain)


def _read(files: TlsFiles) -> Pem:
    ca, chain = files.ca, files.certificate
    if ca is None or chain is None:
        raise TlsInvalid("TLS: a certificate and its authority are both needed")
    found = inspect(files)
    try:
        return Pem(ca.read_bytes(), chain.read_bytes(), (files.key or chain).read_bytes(), found)
    except OSError as error:
        raise TlsInvalid(f"TLS: {error.filename}: {error.strerror}") from error
