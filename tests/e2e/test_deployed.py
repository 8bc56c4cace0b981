"""The services as processes of their own, over a real broker and a real PostgreSQL, used by real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.e2e.deployment import Deployment
from tests.e2e.running import MODEL

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
