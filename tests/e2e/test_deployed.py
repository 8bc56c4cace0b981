"""The services as processes of their own, over a real broker and a real PostgreSQL, used by real clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.deployment import Deployment
from tests.e2e.running import MODEL, until
from tests.e2e.told import Told

pytestmark = pytest.mark.timeout(400)  # the first test waits for seven processes to start


@pytest.fixture
def client(deployment: Deployment) -> Iterator[OpenAI]:
    with OpenAI(base_url=deployment.base_url, api_key=deployment.key, max_retries=0, timeout=60.0) as client:
        yield client


def test_an_openai_client_is_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello!"}], max_tokens=8
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


def test_a_stream_comes_whole(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello!"}], max_tokens=64, stream=True
    )
    assert len([chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content]) > 1


def test_all_that_dashboards_and_alerts_ask_for_is_told(deployment: Deployment, client: OpenAI) -> None:
    for text in ("Hello!", "Please run the Freehold refusal demo."):
        with suppress(BadRequestError):
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=4
            )

    def scrape() -> Told:
        return Told(replica.metrics() for replica in deployment.replicas.values())

    until(lambda: not scrape().complaints(), "everything to be counted")
    assert scrape().unseen() == []
