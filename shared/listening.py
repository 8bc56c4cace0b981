"""Sockets that a process listens on."""

from __future__ import annotations

import socket

from shared.errors import FreeholdError, Kind

BACKLOG = 2048


def listening(host: str, port: int, setting: str) -> socket.socket:
    """A bound TCP socket; `setting` is the variable that moves it. Raises `FreeholdError` NOT_READY, in one
    line for an operator.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise FreeholdError(Kind.NOT_READY, f"cannot listen on {host}:{port}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise FreeholdError(
            Kind.NOT_READY,
            f"cannot listen on {host}:{port}: {error.strerror}; set {setting} to another port",
        ) from error
    return bound
