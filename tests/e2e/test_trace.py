"""One request is one trace over every service; and nothing is sent to anybody unasked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.collector import Collector
from tests.e2e.conftest import Start
from tests.e2e.running import MODEL, Running, until
from tests.e2e.traces import SERVED, check_links, traces, traces_of

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
    until(lambda: any(one.service == "audit" for one in collector.spans), "the log's span to be sent")
    assert running.stop() == 0
    (trace,) = traces_of(collector, request)
    trace.check(SERVED)
    assert trace.root.name == "POST /v1/chat/completions"
    assert {one.service for one in trace.collected} == SERVICES
    check_links(collector)
    for other in traces(collector):
        assert other.orphans == []
        # What serves several requests at once is a trace of its own, which theirs link to.
        assert other.roots or all(name.endswith(" batch") for name in other.names)


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
