"""The Docker engine, asked over its socket and through `docker compose`."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SOCKET = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
ONCE = {"secrets", "certs", "topics", "migrate", "welcome"}
UNWATCHED = {"otel-collector"}
"""Its image holds nothing that could check it."""
POLL_S = 0.25


class VerifyError(Exception):
    """A promise that does not hold; the message says which."""


@dataclass(frozen=True)
class Container:
    """One container of the project."""

    id: str
    name: str
    service: str
    state: str
    health: str
    exit_code: int

    @property
    def well(self) -> bool:
        """Healthy, or done."""
        if self.service in ONCE:
            return self.state == "exited" and self.exit_code == 0
        return self.state == "running" and (self.health == "healthy" or self.service in UNWATCHED)


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def api(path: str) -> Any:
    """What the engine's API answers."""
    connection = _Connection("docker")
    connection.request("GET", path)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    if answer.status != 200:
        raise VerifyError(f"the engine says {answer.status} to {path}: {body}")
    return body


class Project:
    """One Compose project. `environment` is what its file's variables are replaced by."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self._name = name
        self._environment = {**os.environ, **environment}

    def compose(self, *arguments: str, limit_s: float = 900.0) -> str:
        """The output of `docker compose …`. Raises `VerifyError` where it fails."""
        command = ["docker", "compose", "-p", self._name, "-f", str(ROOT / "docker-compose.yml"), *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if done.returncode:
            raise VerifyError(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def containers(self) -> list[Container]:
        """All of the project, those that have ended too."""
        lines = self.compose("ps", "--all", "--format", "json").strip()
        found = (
            json.loads(lines) if lines.startswith("[") else [json.loads(line) for line in lines.splitlines()]
        )
        return [
            Container(
                one["ID"], one["Name"], one["Service"], one["State"], one.get("Health", ""), one["ExitCode"]
            )
            for one in found
        ]

    def until_well(self, services: set[str], within_s: float) -> float:
        """Seconds until every container is healthy or done, and each service has one."""
        begin = time.monotonic()

        def ill() -> list[str]:
            found = self.containers()
            missing = services - {one.service for one in found}
            return [f"{one.name}: {one.state} {one.health}" for one in found if not one.well] + sorted(
                missing
            )

        wait_for(lambda: not ill(), within_s, lambda: f"not healthy: {ill()}")
        return time.monotonic() - begin

    def logs(self, service: str) -> str:
        """Everything that a service's containers have written."""
        return self.compose("logs", "--no-color", "--no-log-prefix", service)

    def busy_s(self) -> dict[str, float]:
        """By container that runs, the processor seconds that it has used."""
        used = {}
        for one in self.containers():
            if one.state == "running":
                stats = api(f"/containers/{one.id}/stats?stream=false&one-shot=true")
                used[one.name] = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        return used

    def memory_mib(self) -> dict[str, float]:
        """By container that runs, its memory without the page cache that could be dropped."""
        used = {}
        for one in self.containers():
            if one.state == "running":
                stats = api(f"/containers/{one.id}/stats?stream=false&one-shot=true")["memory_stats"]
                details = stats.get("stats", {})
                cache = details.get("inactive_file", details.get("total_inactive_file", 0))
                used[one.name] = round((stats["usage"] - cache) / 2**20, 1)
        return used


def wait_for(done: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
    """Ask until it is so. Raises `VerifyError` with `what()` where it is not in time."""
    until = time.monotonic() + within_s
    while not done():
        if time.monotonic() > until:
            raise VerifyError(what())
        time.sleep(POLL_S)
