"""One `freehold up` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = "smollm2-135m-instruct"
START_S = 90.0
STOP_S = 30.0


def settings(home: Path, engine: str, others: Mapping[str, str]) -> dict[str, str]:
    """The environment of a platform on free ports."""
    return {
        **os.environ,
        "FREEHOLD_HOME": str(home),
        "FREEHOLD_ENGINE": engine,
        "FREEHOLD_HTTP_PORT": "0",
        "FREEHOLD_GRPC_PORT": "0",
        "PYTHONUNBUFFERED": "1",
        **others,
    }


def freehold(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def until(found: Callable[[], bool], what: str, seconds: float = 30.0, step: float = 0.05) -> float:
    """Seconds until `found` is true. Raises `AssertionError` where it stays false."""
    begun = time.monotonic()
    while not found():
        assert time.monotonic() - begun < seconds, f"waited {seconds} s for {what}"
        time.sleep(step)
    return time.monotonic() - begun


class Running:
    """One `freehold up` on free ports."""

    def __init__(self, home: Path, engine: str, *, wait: bool = True, **environment: str) -> None:
        """Returns when the platform is ready, unless told not to `wait`."""
        self.home = home
        self.environment = settings(home, engine, environment)
        self._lines: list[str] = []
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when it is ready. Raises `AssertionError` where it does not become so."""
        self._ready.wait(START_S)
        if self.process.poll() is not None or not self._ready.is_set():
            self.kill()
            raise AssertionError(f"the platform did not start:\n{self.output}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if "Freehold is ready" in line:
                self._ready.set()
        self._ready.set()

    @property
    def output(self) -> str:
        """Everything that the process has printed."""
        return "".join(self._lines)

    @property
    def demo(self) -> dict[str, str]:
        """The values of demo.env."""
        lines = (self.home / "demo.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def base_url(self) -> str:
        return self.demo["OPENAI_BASE_URL"]

    @property
    def key(self) -> str:
        return self.demo["OPENAI_API_KEY"]

    @property
    def admin_key(self) -> str:
        return self.demo["FREEHOLD_ADMIN_KEY"]

    @property
    def grpc_target(self) -> str:
        return self.demo["FREEHOLD_GRPC_TARGET"]

    @property
    def socket(self) -> str:
        """Where the operator's commands connect."""
        return f"unix:{self.home}/rpc.sock"

    @property
    def token(self) -> str:
        """What they say there."""
        return (self.home / "secrets" / "token").read_text()

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line against this platform."""
        done = freehold(*arguments, environment=self.environment)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def verify_ledger(self) -> None:
        """Raises `AssertionError` where the books are wrong."""
        assert "ok" in self.command("ledger", "verify").stdout

    def wait(self) -> int:
        """The exit status, once it has ended."""
        status = self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ctrl-C, or another signal; the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """kill -9, where it still runs."""
        self.process.kill()
        self.wait()
