"""A real platform in a process of its own, as `freehold up` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running

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
