"""The embedded platform at its most talkative tells no secret and no text, and keeps neither on disk."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.canaries import Canaries, files_in, titles
from tests.e2e.collector import Collector
from tests.e2e.conftest import Start
from tests.e2e.running import MODEL, until

pytestmark = pytest.mark.timeout(400)  # two starts, and every kind of request at the slowest log level


@pytest.fixture
def spans() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def test_no_secret_and_no_text_is_told_anywhere(start: Start, spans: Collector) -> None:
    """Prompts and answers live in memory alone, and of an idempotency key there is only its digest."""
    running = start(
        FREEHOLD_LOG_LEVEL="DEBUG",
        FREEHOLD_OTLP_ENDPOINT=spans.endpoint,
        FREEHOLD_INFERENCE_TOKENS_PER_SECOND="200",
    )
    canaries = Canaries()
    canaries.plant_secrets(running.home / "secrets")
    canaries.plant_keys(running.demo)
    errors = canaries.provoke(running.base_url, running.grpc_target, running.key)
    metrics = httpx.get(running.base_url.removesuffix("/v1") + "/metrics", trust_env=False).content
    assert b"freehold_edge_" in metrics
    shown = titles([running.process.pid])
    until(lambda: bool(spans.spans), "the first spans")
    running.kill()
    again = start(home=running.home, FREEHOLD_LOG_LEVEL="DEBUG")
    again.verify_ledger()
    assert again.stop() == 0
    kept = files_in(running.home, ("secrets", "demo.env"))
    said = {
        "spans": [(one.span.name, one.span.SerializeToString()) for one in spans.spans],
        "metrics": [("/metrics", metrics)],
        "output": [("before", running.output.encode()), ("after", again.output.encode())],
        "process": shown,
        "errors": errors,
    }
    assert all(said.values()), "each place was looked at"
    assert {place: found for place, texts in said.items() if (found := canaries.leaks(texts))} == {}
    assert canaries.leaks(kept) == []
    assert any(MODEL.encode() in text for _, text in kept), "looking finds what is there"
