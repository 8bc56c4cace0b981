"""The gateways, each in an environment of its own below `build/peers`, made at the first run."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.load import post
from tests.bench.peers.backend import MODEL
from tests.e2e.running import ROOT
from tests.servers.process import free_port

HERE = Path(__file__).parent
BUILD = ROOT / "build" / "peers"
TOOLS = Path(sys.executable).parent
KEY = "sk-bench-0123456789"
START_S = 180.0
STOP_S = 20.0
PATH = "/v1/chat/completions"


class Gateway(NamedTuple):
    """One that runs."""

    name: str
    version: str
    port: int
    pid: int
    headers: Mapping[str, str]
    """What it wants beside the body."""

    def request(self, body: bytes) -> bytes:
        """A whole request to it."""
        whole = post(PATH, body)
        others = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()).encode()
        return whole.replace(b"\r\n\r\n", b"\r\n" + others + b"\r\n", 1)


@contextmanager
def process(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as it is wanted."""
    with log.open("wb") as written:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(STOP_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def litellm(folder: Path, backend: int) -> Iterator[Gateway]:
    """The LiteLLM proxy, one worker, a master key, no database: it neither meters nor moderates."""
    home = BUILD / "litellm"
    _once(home, HERE / "litellm.txt", _install_litellm)
    port = free_port()
    config = folder / "litellm.json"  # YAML too
    given = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{backend}/v1", "api_key": "none"}
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": MODEL, "litellm_params": given}],
                "general_settings": {"master_key": KEY},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    with process([*command, "--port", str(port)], folder / "litellm.log", **quiet) as started:
        release = _pinned("litellm", HERE / "litellm.in")
        yield Gateway("LiteLLM", release, port, started.pid, {"Authorization": f"Bearer {KEY}"})


@contextmanager
def portkey(folder: Path, backend: int) -> Iterator[Gateway]:
    """The Portkey gateway: it passes on, and knows no keys of its own.

    `@hono/node-server` is older than npm would choose: with that one every stream of this release is a 500.
    """
    home = BUILD / "portkey"
    _once(home, HERE / "node" / "package-lock.json", _install_portkey)
    port = free_port()
    package = home / "node_modules" / "@portkey-ai" / "gateway"
    command = [
        str(TOOLS / "node"),
        str(package / "build" / "start-server.js"),
        f"--port={port}",
        "--headless",
    ]
    trusted = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"}
    with process(command, folder / "portkey.log", **trusted) as started:
        release = json.loads((package / "package.json").read_text())["version"]
        where = {
            "Authorization": "Bearer none",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{backend}/v1",
        }
        yield Gateway("Portkey", release, port, started.pid, where)


def _once(home: Path, lock: Path, install: Callable[[Path], None]) -> None:
    """Install anew where the lock is newer than what is there."""
    done = home / ".done"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    print(f"Setting up {home.relative_to(ROOT)}, once; this takes a few minutes", file=sys.stderr)
    install(home)
    done.write_bytes(lock.read_bytes())


def _install_litellm(home: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(HERE / "litellm.txt")], check=True)


def _install_portkey(home: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "node" / name, home / name)
    npm = shutil.which("npm") or str(TOOLS / "npm")
    path = f"{os.environ.get('PATH', '')}:{TOOLS}"
    command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=home, env={**os.environ, "PATH": path}, check=True)


def _pinned(name: str, file: Path) -> str:
    (line,) = (line for line in file.read_text().splitlines() if line.startswith(name))
    return line.split("==")[1]


def until_answers(port: int, request: bytes, started: float) -> None:
    """Return once it answers 200. Raises SystemExit where it does not."""
    head, body = request.split(b"\r\n\r\n", 1)
    headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
    while time.monotonic() - started < START_S:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", PATH, body, headers)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise SystemExit(f"nothing answered on port {port}")
