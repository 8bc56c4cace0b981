"""One request is one trace over every service; and nothing is sent to anybody unasked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.collector import Collector
from tests.e2e.conftest import Start
from tests.e2e.running import MODEL, Running, until

SERVICES = {"edge", "moderation", "tokenizer", "billing", "inference", "audit"}
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
ESTABLISHED = "01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def test_a_request_is_one_trace_of_every_service_without_orphans(start: Start, collector: Collector) -> None:
    running = start(FREEHOLD_OTLP_ENDPOINT=collector.endpoint)
    headers = {"Authorization": f"Bearer {running.key}"}
    answer = httpx.post(f"{running.base_url}/chat/completions", json=BODY, headers=headers, timeout=60.0)
    assert answer.status_code == httpx.codes.OK
    request = answer.headers["x-request-id"]
    until(lambda: "audit" in {service for service, _ in collector.spans}, "the log's span to be sent")
    assert running.stop() == 0
    ids = {span.span_id for _, span in collector.spans}
    assert len(ids) == len(collector.spans)

    whole = [trace for trace in traces(collector) if len(collector.services_of(trace)) > 1]
    assert len(whole) == 1
    assert collector.services_of(whole[0]) == SERVICES
    spans = [span for _, span in collector.spans if span.trace_id == whole[0]]
    (root,) = [span for span in spans if not span.parent_span_id]
    assert root.name == "POST /v1/chat/completions"
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        if span is not root:
            parent = by_id[span.parent_span_id]
            assert parent.start_time_unix_nano <= span.start_time_unix_nano, span.name
        for link in span.links:
            assert link.span_id in ids, "a linked batch was not sent"
    assert value(root, "freehold.request.id") == request
    # What serves several requests at once is a trace of its own, which theirs link to.
    for trace in traces(collector):
        if trace != whole[0]:
            assert all("batch" in span.name for _, span in collector.spans if span.trace_id == trace)


def traces(collector: Collector) -> Counter[bytes]:
    return Counter(span.trace_id for _, span in collector.spans)


def value(span: object, name: str) -> str:
    return next((item.value.string_value for item in span.attributes if item.key == name), "")


def test_without_an_endpoint_nothing_leaves_the_process(platform: Running) -> None:
    headers = {"Authorization": f"Bearer {platform.key}"}
    with httpx.Client(base_url=platform.base_url, headers=headers, timeout=60.0) as client:
        assert client.post("/chat/completions", json=BODY).is_success
        served = int(platform.base_url.rpartition(":")[2].removesuffix("/v1"))
        assert set(connected_from(platform.process.pid)) == {served}  # this client's, and no other


def connected_from(process: int) -> list[int]:
    """Local ports of the process's established connections: those it accepted have its listeners' ports."""
    mine = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        mine.add(target.removeprefix("socket:[").removesuffix("]"))
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == ESTABLISHED and fields[9] in mine:
                found.append(int(fields[1].rpartition(":")[2], 16))
    return found
