"""Who a process is to the other services."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings
from shared.tls import TlsFiles


class RpcTlsSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_TLS_`. All processes have it, or none."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_TLS_")

    ca: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authority of all services: the internal gRPC then is mutual"
        " TLS, and each call needs the certificate of a service that may make it.",
    )
    certificate: Path | None = Field(
        default=None,
        description="Own certificate (PEM), with its key unless that has a file of its own; `freehold certs`"
        " makes one for each service. Replaced files are taken over as they come.",
    )
    key: Path | None = Field(default=None, description="Private key (PEM), where it is in a file of its own.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.ca is None) != (self.certificate is None) or (self.key and not self.certificate):
            raise ValueError("FREEHOLD_TLS_CA and FREEHOLD_TLS_CERTIFICATE are set together, or neither")
        return self

    @property
    def files(self) -> TlsFiles | None:
        """None where calls between services are plain text."""
        return TlsFiles(self.ca, self.certificate, self.key) if self.ca else None
