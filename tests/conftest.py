"""What holds for every test: the servers that some run against, each started once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest

import services.cli  # noqa: F401 - sets how llama.cpp's threads wait, before any test loads the library
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

SERVERS = ("kafka", "own_kafka", "kafka_cluster", "postgres")
LOG_SHOWN = 6000
_Server = TypeVar("_Server", Kafka, Postgres)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker. A test leaves it running; its topics may be anybody's: use a prefix of your own."""
    yield from _running(Kafka(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for the tests of a module, which may kill it: with few topics it is back soon."""
    yield from _running(Kafka(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Three brokers. A test leaves all of them running."""
    yield from _running(Kafka(tmp_path_factory.mktemp("kafka"), brokers=3))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that gives each test a database of its own. A test leaves it running."""
    yield from _running(Postgres())


def _running(server: _Server) -> Iterator[_Server]:
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the servers' logs beside a test that failed with them."""
    report = yield
    if report.failed:
        for name in SERVERS:
            server = getattr(item, "funcargs", {}).get(name)
            if isinstance(server, Kafka | Postgres):
                report.sections.append((f"log of {name}", server.log()[-LOG_SHOWN:]))
    return report
