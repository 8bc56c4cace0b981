"""The platform as it is deployed: a process a service, over a real broker and a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import httpx

from shared.bus.kafka_settings import KafkaSettings
from shared.storage.settings import DatabaseSettings
from tests.e2e.running import MODEL, ROOT, until
from tests.servers.process import free_port

SERVICES = ("control", "tokenizer", "moderation", "billing", "audit", "inference", "edge")
START_S = 240.0
"""A machine with twenty busy processes beside takes two minutes to start twelve more."""
STOP_S = 30.0


class Replica:
    """One `freehold serve`."""

    def __init__(self, service: str, instance: str, environment: dict[str, str], log: Path) -> None:
        self.service = service
        self.instance = instance
        self.environment = environment
        self.rpc_port, self.ops_port = free_port(), free_port()
        self._log = log
        self.environment |= {
            "FREEHOLD_INSTANCE": instance,
            "FREEHOLD_RPC_PORT": str(self.rpc_port),
            "FREEHOLD_OPS_PORT": str(self.ops_port),
        }
        # One for all questions: to make one loads every certificate, longer than a question takes.
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.ops_port}",
            timeout=5.0,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self.process = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "services.cli", "serve", self.service],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """What all of its lives have printed."""
        return self._log.read_text()

    def ask(self, path: str) -> httpx.Response | None:
        """Its operations port's answer; None where nobody answers."""
        try:
            return self._http.get(path)
        except httpx.TransportError:
            return None

    @property
    def ready(self) -> bool:
        """What it says of itself. Raises `AssertionError` where it has ended."""
        assert self.process.poll() is None, f"{self.instance} ended:\n{self.output}"
        answer = self.ask("/readyz")
        return answer is not None and answer.status_code == 200

    def metrics(self) -> str:
        """Its `/metrics`."""
        answer = self.ask("/metrics")
        assert answer is not None, self.output
        return answer.text

    def kill(self) -> None:
        """kill -9, where it still runs."""
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def again(self) -> None:
        """Start it anew under its own name."""
        self.process = self._begin()


class Deployment:
    """Replicas of every service over one broker and one database, each under free ports."""

    def __init__(
        self,
        folder: Path,
        kafka: KafkaSettings,
        database: DatabaseSettings,
        engine: str = "synthetic",
        **environment: str,
    ) -> None:
        self.folder = folder
        self.http_port, self.grpc_port = free_port(), free_port()
        secrets = folder / "secrets"
        self.environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "FREEHOLD_HOME": str(folder / "home"),
            "FREEHOLD_ENGINE": engine,
            "FREEHOLD_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "FREEHOLD_KAFKA_PREFIX": kafka.prefix,
            "FREEHOLD_DATABASE_HOST": database.host,
            "FREEHOLD_DATABASE_PORT": str(database.port),
            "FREEHOLD_DATABASE_NAME": database.name,
            "FREEHOLD_DATABASE_USER": database.user,
            "FREEHOLD_DATABASE_PASSWORD": database.password.get_secret_value(),
            "FREEHOLD_TOKEN_FILE": str(secrets / "token"),
            "FREEHOLD_PEPPER_FILE": str(secrets / "pepper"),
            "FREEHOLD_AUDIT_KEY_FILE": str(secrets / "audit" / "log.key"),
            "FREEHOLD_AUDIT_FOLDER": str(folder / "audit"),
            "FREEHOLD_EDGE_URL": f"http://127.0.0.1:{self.http_port}",
            "FREEHOLD_PUBLIC_URL": f"http://127.0.0.1:{self.http_port}/v1",
            **environment,
        }
        self.replicas: dict[str, Replica] = {}
        self.command("secrets", str(secrets))

    def prepare(self) -> None:
        """The one-shot jobs that come before any service."""
        self.command("topics", "apply")
        self.command("migrate")

    def start(self, services: Iterable[str] = SERVICES) -> None:
        """One replica of each, and wait until all are ready."""
        for service in services:
            self.add(service)
        self.wait_ready()

    def add(self, service: str, instance: str | None = None, **environment: str) -> Replica:
        """Another replica; the first of a service has its name, and the addresses that others know."""
        name = instance or service
        given = {**self.environment, **environment}
        if service == "edge" and name == "edge":
            given |= {"FREEHOLD_HTTP_PORT": str(self.http_port), "FREEHOLD_GRPC_PORT": str(self.grpc_port)}
        elif service == "edge":
            given |= {"FREEHOLD_HTTP_PORT": str(free_port()), "FREEHOLD_GRPC_PORT": str(free_port())}
        replica = Replica(service, name, given, self.folder / f"{name}.log")
        self.replicas[name] = replica
        if name in ("control", "billing", "audit"):
            self.environment[f"FREEHOLD_{name.upper()}_TARGET"] = f"127.0.0.1:{replica.rpc_port}"
        return replica

    def wait_ready(self) -> None:
        """Return once every replica is ready. Raises `AssertionError` with the log of one that is not."""
        for replica in self.replicas.values():
            try:
                until(lambda: replica.ready, f"{replica.instance} to be ready", START_S)  # noqa: B023
            except AssertionError as error:
                answer = replica.ask("/readyz")
                said = "" if answer is None else answer.text
                raise AssertionError(f"{error}\n{said}\n{replica.output[-8000:]}") from None

    def welcome(self) -> str:
        """Make the demo; what the command printed."""
        return self.command("welcome").stdout

    def ask(self, tokens: int = 5, **changes: object) -> httpx.Response:
        """A plain answer of the first edge."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": tokens}
        return httpx.post(
            f"{self.base_url}/chat/completions",
            json={**body, **changes},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60.0,
        )

    def command(
        self, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line against this platform."""
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/v1"

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def demo(self) -> dict[str, str]:
        """The values of demo.env."""
        lines = (self.folder / "home" / "demo.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def key(self) -> str:
        return self.demo["OPENAI_API_KEY"]

    def stop(self) -> dict[str, int]:
        """SIGTERM to all that run, in reverse order of their start; the exit statuses."""
        running = [one for one in reversed(self.replicas.values()) if one.process.poll() is None]
        return {replica.instance: replica.stop() for replica in running}

    def kill(self) -> None:
        """End what still runs."""
        for replica in self.replicas.values():
            replica.kill()
