"""The ports that clients call, looked at before anything slow begins."""

from __future__ import annotations

import os
import socket

from services.cli.embedded.settings import EmbeddedSettings
from shared.errors import FreeholdError, Kind


def check_ports(settings: EmbeddedSettings) -> None:
    """Raises `FreeholdError` NOT_READY where an address cannot be listened on."""
    for setting, port in (
        ("FREEHOLD_HTTP_PORT", settings.http_port),
        ("FREEHOLD_GRPC_PORT", settings.grpc_port),
    ):
        address = f"{settings.http_host}:{port}"
        family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
        try:
            socket.create_server((settings.http_host, port), family=family).close()
        except socket.gaierror as error:
            raise FreeholdError(
                Kind.NOT_READY, f"{address}: {error.strerror}; set FREEHOLD_HTTP_HOST"
            ) from error
        except OSError as error:
            way = f"set {setting} to another port, or to 0 for any free one"
            reason = os.strerror(error.errno or 0)
            raise FreeholdError(Kind.NOT_READY, f"{address}: {reason}; {way}") from error
