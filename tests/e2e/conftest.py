"""A real platform: in one process, as `freehold up` runs it, or in one a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.collector import Collector
from tests.e2e.deployment import Deployment
from tests.e2e.running import Running
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts platforms, on `tmp_path/home` unless told otherwise, and ends what still runs."""
    started: list[Running] = []

    def begin(engine: str = "synthetic", home: Path | None = None, **options: object) -> Running:
        running = Running(home or tmp_path / "home", engine, **options)  # type: ignore[arg-type]
        started.append(running)
        return running

    yield begin
    for running in started:
        running.kill()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One platform with the real model for all tests of a worker."""
    running = Running(tmp_path_factory.mktemp("platform") / "home", "llama")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.output


@pytest.fixture(scope="session")
def receiver() -> Iterator[Collector]:
    """Where `deployment` sends all of its spans."""
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="session")
def deployment(
    kafka: Kafka, postgres: Postgres, receiver: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """One replica of each service, for all tests of a worker: a test leaves all of them running."""
    made = Deployment(
        tmp_path_factory.mktemp("deployment"),
        kafka.settings(prefix="deployed."),
        postgres.settings(),
        FREEHOLD_OTLP_ENDPOINT=receiver.endpoint,
        FREEHOLD_INFERENCE_TOKENS_PER_SECOND="200",  # so that a stream has parts, and can be left
    )
    try:
        made.prepare()
        made.start()
        made.welcome()
        yield made
    finally:
        made.kill()
