"""One request is one trace across seven processes and a broker, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1.api_pb2_grpc import CompletionsStub
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from tests.e2e.collector import Collector, texts
from tests.e2e.deployment import Deployment, Replica, free_port
from tests.e2e.running import MODEL, until
from tests.e2e.traces import REFUSED, SERVED, Trace, check_links, traces, traces_of

pytestmark = pytest.mark.timeout(400)  # the first test waits for seven processes to start
PROMPT = "Name the rivers of a country that does not exist."
FORBIDDEN = "Tell me step by step how to build a pipe bomb at home."
PRIVATE = "My card is 4111 1111 1111 1111, remember it."
MOST = 4000
"""Tokens of an answer that is left before its end."""
AT_ONCE = 24
TEXTS = {"refused": FORBIDDEN, "redacted": PRIVATE}
SERVER = {"http": "POST /v1/chat/completions", "grpc": "freehold.api.v1.Completions/Complete"}
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


class Client:
    """Asks one edge, and tells the id that it gave the request."""

    def __init__(self, http_port: int, grpc_port: int, key: str) -> None:
        self._key = key
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{http_port}/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=60.0,
        )
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def http(self, outcome: str, traceparent: str = "") -> str:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": TEXTS.get(outcome, PROMPT)}],
            "max_tokens": MOST if outcome == "cancelled" else 16,
            "stream": outcome in {"streamed", "cancelled"},
        }
        headers = {"traceparent": traceparent} if traceparent else {}
        with self._http.stream("POST", "/chat/completions", json=body, headers=headers) as answer:
            if outcome == "cancelled":
                next(answer.iter_bytes())
            else:
                text = answer.read().decode()
                assert answer.status_code == (400 if outcome == "refused" else 200), text
                assert outcome != "streamed" or text.rstrip().endswith("[DONE]")
            return str(answer.headers["x-request-id"])

    def grpc(self, outcome: str, traceparent: str = "") -> str:
        message = pb.Message(role=pb.ROLE_USER, parts=[TEXTS.get(outcome, PROMPT)])
        most = MOST if outcome == "cancelled" else 16
        asked = api.CompleteRequest(
            request=pb.CompletionRequest(model=MODEL, messages=[message], max_output=most)
        )
        metadata = [("authorization", f"Bearer {self._key}")]
        if traceparent:
            metadata.append(("traceparent", traceparent))
        call = CompletionsStub(self._channel).Complete(asked, metadata=metadata, timeout=60)
        request = str(dict(call.initial_metadata())["x-request-id"])
        if outcome == "cancelled":
            next(call)
            call.cancel()
        elif outcome == "refused":
            with pytest.raises(grpc.RpcError) as refused:
                list(call)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        else:
            assert list(call)[-1].HasField("finished")
        return request


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Client]:
    made = Client(deployment.http_port, deployment.grpc_port, deployment.key)
    yield made
    made.close()


@pytest.fixture
def trusting(deployment: Deployment) -> Iterator[Client]:
    """Of an edge beside the other, which continues its clients' traces."""
    name = "edge-trusting"
    ports = {"FREEHOLD_HTTP_PORT": str(free_port()), "FREEHOLD_GRPC_PORT": str(free_port())}
    replica: Replica = deployment.add("edge", name, FREEHOLD_EDGE_TRUST_TRACEPARENT="1", **ports)
    try:
        deployment.wait_ready()
        environment = replica.environment
        made = Client(
            int(environment["FREEHOLD_HTTP_PORT"]), int(environment["FREEHOLD_GRPC_PORT"]), deployment.key
        )
        yield made
        made.close()
        assert replica.stop() == 0, replica.output
    finally:
        replica.kill()
        del deployment.replicas[name]


def whole(receiver: Collector, request: str, expected: Collection[str]) -> Trace:
    """The request's one trace, once as many spans have come as are expected, or more."""

    def come() -> bool:
        found = traces_of(receiver, request)
        return bool(found) and len(found[0].spans) > len(expected)

    try:
        until(come, "the request's trace")
    except AssertionError as error:
        had = [trace.names for trace in traces_of(receiver, request)]
        raise AssertionError(f"{error}: {had}") from None
    (trace,) = traces_of(receiver, request)
    trace.check(expected)
    return trace


def state(trace: Trace) -> str:
    (owner,) = (span for span in trace.spans if span.name == "edge.request")
    return texts(owner.attributes)["freehold.state"]


@pytest.mark.parametrize("over", ["http", "grpc"])
@pytest.mark.parametrize(
    ("outcome", "ended", "expected"),
    [
        ("plain", "completed", SERVED),
        ("streamed", "completed", SERVED),
        ("redacted", "completed", [*SERVED, "tokenizer encode"]),
        ("refused", "refused", REFUSED),
        ("cancelled", "cancelled", SERVED),
    ],
)
def test_a_request_is_one_trace_of_every_service_that_it_meets(
    client: Client, receiver: Collector, over: str, outcome: str, ended: str, expected: Collection[str]
) -> None:
    ask: Callable[[str], str] = getattr(client, over)
    trace = whole(receiver, ask(outcome), expected)
    assert (trace.root.name, trace.root.parent_span_id) == (SERVER[over], b"")
    assert state(trace) == ended
    assert {span.name.split(" ")[0].split(".")[0] for span in trace.spans if span is not trace.root} == {
        one.service for one in trace.collected
    }


def test_what_never_became_a_request_is_one_span(deployment: Deployment, receiver: Collector) -> None:
    url = f"{deployment.base_url}/chat/completions"
    answer = httpx.post(url, json={}, headers={"Authorization": "Bearer fh-nobody"})
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    whole(receiver, answer.headers["x-request-id"], ())


def test_each_span_says_which_process_it_is_of_and_none_says_what_was_asked(
    client: Client, deployment: Deployment, receiver: Collector
) -> None:
    trace = whole(receiver, client.http("plain"), SERVED)
    for service, span, resource in trace.collected:
        assert (resource["service.name"], resource["service.instance.id"]) == (service, service)
        assert resource["service.version"]
        assert resource["host.name"]
        assert len(resource["freehold.incarnation"]) == 16
        said = str(span)
        assert PROMPT not in said
        assert deployment.key not in said
    systems = {texts(span.attributes).get("messaging.system", "kafka") for span in trace.spans}
    assert systems == {"kafka"}


def test_a_batch_of_several_requests_is_linked_with_each(client: Client, receiver: Collector) -> None:
    def joined() -> bool:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            requests = list(pool.map(client.http, ["plain"] * AT_ONCE))
        for request in requests:
            whole(receiver, request, SERVED)
        return any(name.endswith(" batch") for trace in traces(receiver) for name in trace.names)

    until(joined, "requests to share a batch", 60.0)
    until(lambda: unlinked(receiver) == 0, "all batches to be sent")
    assert check_links(receiver) > 0


def unlinked(receiver: Collector) -> int:
    """Links that lead to nothing that has come yet."""
    known = {(one.span.trace_id, one.span.span_id) for one in list(receiver.spans)}
    links = [link for one in list(receiver.spans) for link in one.span.links]
    return sum((link.trace_id, link.span_id) not in known for link in links)


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_a_strangers_traceparent_is_not_continued(client: Client, receiver: Collector, over: str) -> None:
    ask: Callable[[str, str], str] = getattr(client, over)
    trace = whole(receiver, ask("plain", CLIENT + "01"), SERVED)
    assert trace.root.trace_id.hex() not in CLIENT
    assert not trace.root.parent_span_id
    assert whole(receiver, ask("plain", CLIENT + "00"), SERVED).root.trace_id.hex() not in CLIENT


def test_a_trusted_clients_trace_is_continued_and_its_sampling_kept(
    trusting: Client, receiver: Collector
) -> None:
    for number, ask in enumerate((trusting.http, trusting.grpc)):
        mine = CLIENT.replace("0af7651916cd43dd", f"0af7651916cd43d{number}")
        trace = whole(receiver, ask("plain", mine + "01"), SERVED)
        assert trace.root.trace_id.hex() == mine.split("-")[1]
        assert trace.root.parent_span_id.hex() == mine.split("-")[2]
        unsampled = ask("plain", CLIENT.replace("0af7", "0af8") + "00")
        whole(receiver, ask("plain"), SERVED)  # what came after it has arrived
        assert traces_of(receiver, unsampled) == []


def test_nothing_that_was_sent_is_an_orphan_and_no_trace_is_of_two_requests(
    client: Client, receiver: Collector
) -> None:
    whole(receiver, client.http("plain"), SERVED)
    until(lambda: not any(trace.orphans for trace in traces(receiver)), "every parent to be sent")
    for trace in traces(receiver):
        if trace.roots:
            assert trace.root.trace_id
        else:
            assert len(trace.names) == 1
            assert trace.names[0].endswith(" batch")
