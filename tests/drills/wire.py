"""A wire that can go dead: connections stay open and nothing passes any more."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Self

from tests.servers.process import free_port

_READ = 65536
_LOOK_S = 0.2


class Wire:
    """Forwards TCP from a port of its own to `target`, on this machine; 0 = to nobody, who never answers."""

    def __init__(self, target: int = 0) -> None:
        self.port = free_port()
        self.target = target
        self._dead = threading.Event()
        self._end = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._listener.close()
        for one in self._held:
            one.close()

    def die(self) -> None:
        """Let nothing pass, and say so to nobody."""
        self._dead.set()

    def live(self) -> None:
        """New connections pass again; those that were open stay dead."""
        self._dead.clear()

    def _accept(self) -> None:
        while not self._end.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._held.append(near)
            if not self.target or self._dead.is_set():
                continue
            with suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self.target))
                self._held.append(far)
                threading.Thread(target=self._forward, args=(near, far), daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with suppress(OSError, ValueError):
            while not self._end.is_set():
                ready, _, _ = select.select([near, far], [], [], _LOOK_S)
                if self._dead.is_set():
                    return  # held open, never read again
                for one in ready:
                    if not (data := one.recv(_READ)):
                        near.close()
                        far.close()
                        return
                    other[one].sendall(data)
