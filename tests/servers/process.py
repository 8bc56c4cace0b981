"""A server's process: its log in a file, and never left behind, however the tests end."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PORTS = range(18000, 32000)
"""Below those that outgoing connections take: a stopped server's is still free when it starts again."""
_POLL_S = 0.02
_given: set[int] = set()


class ServerFailed(AssertionError):
    """The server ended, or did not become ready in time; the text holds the end of its log."""


def free_port() -> int:
    """A port of this machine that nobody listens on; none twice."""
    for port in random.sample(PORTS, len(PORTS)):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise ServerFailed("no port is free")


class ServerProcess:
    """One process of a server, and the next one in its place after a restart."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, user: str | None, environment: Mapping[str, str]
    ) -> None:
        self._command = [str(word) for word in command]
        self._log = log
        self._user = user
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._begun_at = 0

    @property
    def pid(self) -> int:
        """Of the running process. Raises `ServerFailed` where none runs."""
        if self._process is None:
            raise ServerFailed(f"{self._command[0]} does not run")
        return self._process.pid

    def start(self, ready: Callable[[str], bool], timeout: float) -> None:
        """Return when `ready` says so of what this start has logged. Raises `ServerFailed`."""
        self.launch()
        self.wait(ready, timeout)

    def launch(self) -> None:
        """Start without waiting."""
        assert self._process is None, "it runs already"
        with self._log.open("ab") as log:
            self._begun_at = log.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._log.parent,
                env=self._environment,
                start_new_session=True,
                user=self._user,
                extra_groups=None if self._user is None else [],
            )
        # Reads until this process ends, however it ends, and then takes the server along.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "-$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def wait(self, ready: Callable[[str], bool], timeout: float) -> None:
        """Return when `ready` says so of what this start has logged. Raises `ServerFailed`."""
        process, deadline = self._process, time.monotonic() + timeout
        assert process is not None
        while not ready(self.log(self._begun_at)):
            if process.poll() is not None:
                raise ServerFailed(f"it ended with {process.returncode}:\n{self.log()[-4000:]}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"it was not ready after {timeout} s:\n{self.log()[-4000:]}")
            time.sleep(_POLL_S)

    def log(self, begin: int = 0) -> str:
        """What it has written, of every start."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def signal_all(self, number: int) -> None:
        """Send a signal to it and its children: to stop them in their tracks (SIGSTOP), to go on."""
        os.killpg(self.pid, number)
        # PostgreSQL's have process groups of their own.
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split():
            os.kill(int(child), number)

    def end(self, number: int = signal.SIGKILL, timeout: float = 60.0) -> None:
        """End it by this signal, waiting until it is gone. Nothing where none runs."""
        process, guard = self._process, self._guard
        if process is None or guard is None:
            return
        guard.kill()
        guard.communicate()
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"signal {number} did not end it in {timeout} s") from None
        finally:
            self._process = self._guard = None
