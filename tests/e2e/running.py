"""One `freehold up` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0
STOP_S = 30.0


class Running:
    """One `freehold up` on free ports."""

    def __init__(self, home: Path, engine: str, **environment: str) -> None:
        self.home = home
        self.environment = {
            **os.environ,
            "FREEHOLD_HOME": str(home),
            "FREEHOLD_ENGINE": engine,
            "FREEHOLD_HTTP_PORT": "0",
            "FREEHOLD_GRPC_PORT": "0",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
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

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line against this platform."""
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def stop(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(STOP_S)
        self._finish()
        return status

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(STOP_S)
        self._finish()

    def _finish(self) -> None:
        self._reader.join(STOP_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
