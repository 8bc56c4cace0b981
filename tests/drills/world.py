"""The platform that drills are done on: two replicas of what stands on a request's path, one of control and
audit, each a process, over a broker and a PostgreSQL of their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from services.control.seed import CURRENCY, ORGANISATION, PROJECT
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.rpc.channel import connect
from tests.drills.load import Load, Tenant, texts_of
from tests.drills.visits import Visits
from tests.drills.wire import Wire
from tests.e2e.deployment import SERVICES, Deployment, Replica
from tests.e2e.running import MODEL, until
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

TWICE = ("tokenizer", "moderation", "billing", "inference", "edge")
PACE = {"FREEHOLD_INFERENCE_TOKENS_PER_SECOND": "200"}
"""Of each sequence, so that an answer takes time and a stream has parts."""
MOST_AT_ONCE = "4000"
"""Requests in flight that a drill's key may have."""

OTHER = "other"
"""The second organisation."""


class World:
    """One deployment, what was asked of it, and what its database holds."""

    def __init__(self, twice: tuple[str, ...] = TWICE, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="freehold-drills-"))
        (self.folder / "kafka").mkdir()
        self.kafka, self.postgres = Kafka(self.folder / "kafka"), Postgres()
        self.loads: list[Load | Visits] = []
        self._twice = twice
        self._paused: set[Replica] = set()
        self.kafka.start()
        self.postgres.start()
        self._bootstrap = Wire(int(self.kafka.bootstrap.rpartition(":")[2]))
        self._bootstrap.__enter__()
        kafka = self.kafka.settings(prefix="drills.", bootstrap=f"127.0.0.1:{self._bootstrap.port}")
        self.deployment = Deployment(self.folder, kafka, self.postgres.settings(), **PACE, **environment)

    def open(self) -> None:
        """Return when everything is ready and a first request was answered."""
        self.deployment.prepare()
        for service in SERVICES:
            self.deployment.add(service)
        for service in self._twice:
            self.deployment.add(service, f"{service}-2")
        self.deployment.wait_ready()
        self.deployment.welcome()
        self.tenant = Tenant(ORGANISATION, PROJECT, self.key(PROJECT))
        self.texts = texts_of(self.urls, self.tenant.secret)

    def close(self) -> None:
        """End all of it and delete its data."""
        self.proceed()
        self.deployment.kill()
        self._bootstrap.__exit__()
        self.kafka.remove()
        self.postgres.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def replicas(self) -> dict[str, Replica]:
        return self.deployment.replicas

    @property
    def urls(self) -> list[str]:
        """Of the edges, the first one first."""
        return [self.url(name) for name, one in self.replicas.items() if one.service == "edge"]

    def url(self, edge: str) -> str:
        """Where that edge listens."""
        return f"http://127.0.0.1:{self.replicas[edge].environment['FREEHOLD_HTTP_PORT']}"

    def key(self, project: str, at_once: str = MOST_AT_ONCE) -> str:
        """A new key's secret, known to every edge."""
        asked = ["--project", project, "--max-in-flight", at_once]
        return self._made(*asked)[1]

    def poor_key(self, nanos: int) -> tuple[str, str]:
        """A key of the demo's project that may spend so many 10^-9 of a unit: its id and secret."""
        identifier, secret = self._made("--project", PROJECT, "--max-in-flight", MOST_AT_ONCE)
        limit = f"{nanos // 10**9}.{nanos % 10**9:09d}"
        self.deployment.command("budgets", "set", "key", identifier, limit, "--period", "none")
        return identifier, secret

    def _made(self, *asked: str) -> tuple[str, str]:
        identifier, secret = self.deployment.command("keys", "create", *asked).stdout.split()
        for url in self.urls:
            until(lambda: self._known(url, secret), "a new key to be known", 30.0)  # noqa: B023
        return identifier, secret

    def _known(self, url: str, secret: str) -> bool:
        headers = {"Authorization": f"Bearer {secret}"}
        answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=10.0, trust_env=False)
        return answer.status_code == httpx.codes.OK

    def load(self, name: str, urls: Sequence[str] = (), **options: Any) -> Load:
        """Clients of this world's edges, or of these, whose requests will be accounted for."""
        again = sum(one.name.startswith(name) for one in self.loads)
        named = f"{name}.{again}" if again else name
        load = Load(named, urls or self.urls, self.tenant, **options)
        self.loads.append(load)
        return load

    def visits(self, name: str) -> Visits:
        """Clients that leave, whose requests will be accounted for."""
        made = Visits(name, self.urls, self.tenant)
        self.loads.append(made)
        return made

    def say(self, tenant: Tenant, text: str, system: str = "") -> dict[str, Any]:
        """A short plain answer of the first edge. Raises `AssertionError` where there is none."""
        messages = [{"role": "system", "content": system}] if system else []
        answer = httpx.post(
            f"{self.url('edge')}/v1/chat/completions",
            json={
                "model": MODEL,
                "messages": [*messages, {"role": "user", "content": text}],
                "max_tokens": 4,
            },
            headers={"Authorization": f"Bearer {tenant.secret}"},
            timeout=60.0,
            trust_env=False,
        )
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def other_tenant(self) -> Tenant:
        """A second organisation, with a project and a key."""
        asyncio.run(self._put_other())
        return Tenant(OTHER, f"{OTHER}-project", self.key(f"{OTHER}-project"))

    async def _put_other(self) -> None:
        token = (self.folder / "secrets" / "token").read_text().strip()
        target = self.deployment.environment["FREEHOLD_CONTROL_TARGET"]
        async with connect(target, token) as channel:
            control = ControlStub(channel)
            organisation = config.Organisation(
                id=OTHER, name=OTHER, time_zone="UTC", currency=CURRENCY, policies=["base"]
            )
            project = config.Project(id=f"{OTHER}-project", organisation=OTHER, name=OTHER)
            await control.PutOrganisation(pb.PutOrganisationRequest(organisation=organisation))
            await control.PutProject(pb.PutProjectRequest(project=project))

    @contextmanager
    def beside(self, engine: str, twice: Sequence[str] = (), **environment: str) -> Iterator[Deployment]:
        """Another platform on the same servers, with two replicas of some services; gone afterwards."""
        folder = self.folder / f"beside-{time.time_ns()}"
        folder.mkdir()
        kafka = self.kafka.settings(prefix=f"{folder.name}.")
        other = Deployment(folder, kafka, self.postgres.settings(), engine, **environment)
        try:
            other.prepare()
            for service in SERVICES:
                other.add(service)
            for service in twice:
                other.add(service, f"{service}-2")
            other.wait_ready()
            other.welcome()
            yield other
        finally:
            other.kill()
            # A broker that is killed looks through every partition before it is back.
            self.kafka.delete(f"{folder.name}[.].*")

    def pause(self, *names: str) -> float:
        """SIGSTOP; the moment."""
        for name in names:
            os.kill(self.replicas[name].process.pid, signal.SIGSTOP)
            self._paused.add(self.replicas[name])
        return time.monotonic()

    def proceed(self) -> None:
        """SIGCONT to all that are stopped."""
        while self._paused:
            replica = self._paused.pop()
            if replica.process.poll() is None:
                os.kill(replica.process.pid, signal.SIGCONT)

    def kill(self, *names: str) -> float:
        """kill -9; the moment."""
        for name in names:
            self.replicas[name].kill()
        return time.monotonic()

    def move_broker(self) -> None:
        """Its clients find it at another port; by what they began with, they still find it."""
        self.kafka.move()
        self._bootstrap.target = int(self.kafka.bootstrap.rpartition(":")[2])

    def servers_again(self) -> None:
        """The broker and the database run, whatever was done to them."""
        for server in (self.kafka, self.postgres):
            server.kill()
            server.start()

    def again(self) -> None:
        """Everything as at the beginning: what is stopped goes on, what has ended starts, all are ready."""
        self.proceed()
        for replica in self.replicas.values():
            if replica.process.poll() is not None:
                replica.again()
        self.deployment.wait_ready()

    def rows(self, statement: str, *values: object, database: str = "") -> list[asyncpg.Record]:
        """What the database answers, or another one; `$1`, `$2` in the statement are the values."""
        name = database or self.deployment.environment["FREEHOLD_DATABASE_NAME"]
        return asyncio.run(self.postgres.execute(statement, name, *values))

    def count(self, statement: str, *values: object) -> int:
        """The one number of a statement."""
        return int(self.rows(statement, *values)[0][0])

    def tracebacks(self) -> list[str]:
        """Lines with which a fault of the program shows, by replica."""
        return [
            f"{replica.instance}: {line[:200]}"
            for replica in self.replicas.values()
            for line in replica.output.splitlines()
            if "Traceback" in line
        ]
