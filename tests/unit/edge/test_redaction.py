"""What moderation marked is replaced, and no text grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.owner.redaction import SpanError, redact
from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest, Message
from shared.contracts.freehold.moderation.v1.events_pb2 import RedactedSpan


def span(field: str, start: int, end: int, label: str = "email") -> RedactedSpan:
    return RedactedSpan(field=field, start=start, end=end, label=label)


REQUEST = CompletionRequest(
    prompt="call +49 30 1234567 now",
    messages=[Message(parts=["a", "mail to jo@example.org, or ann@example.org"], name="élan")],
)


def test_spans_are_replaced_in_their_fields_only() -> None:
    spans = [
        span("messages[0].parts[1]", 8, 22),
        span("messages[0].parts[1]", 27, 42),
        span("messages[0].name", 0, 4, "n"),
        span("prompt", 5, 19, "phone"),
    ]
    found = redact(REQUEST, spans)
    assert found.messages[0].parts[1] == "mail to [email], or [email]"
    assert found.messages[0].name == "[n]"
    assert found.prompt == "call [phone] now"
    assert found.messages[0].parts[0] == "a"
    assert REQUEST.prompt.startswith("call +49"), "the request itself stays"


def test_a_label_is_cut_to_the_bytes_that_it_replaces() -> None:
    assert redact(REQUEST, [span("prompt", 0, 4, "telephone")]).prompt == "[tel +49 30 1234567 now"


@pytest.mark.parametrize(
    "bad",
    [
        span("messages[1].name", 0, 1),
        span("messages[0].parts[2]", 0, 1),
        span("messages[0]", 0, 1),
        span("sampling.temperature", 0, 1),
        span("nothing", 0, 1),
        span("__class__", 0, 1),
        span("prompt[0]", 0, 1),
        span("", 0, 1),
        span("prompt", 0, 99),
        span("prompt", 3, 3),
    ],
)
def test_a_span_outside_the_request_is_an_error(bad: RedactedSpan) -> None:
    with pytest.raises(SpanError):
        redact(REQUEST, [bad])


def test_overlapping_spans_are_an_error() -> None:
    with pytest.raises(SpanError):
        redact(REQUEST, [span("prompt", 0, 4), span("prompt", 3, 6)])


@given(st.text(min_size=1, max_size=30), st.text(alphabet="abcé✓", max_size=12), st.data())
def test_no_text_grows(text: str, label: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    found = redact(CompletionRequest(prompt=text), [span("prompt", start, end, label)]).prompt
    assert len(found.encode()) <= len(text.encode())
    assert found.startswith(text[:start])
    assert found.endswith(text[end:])
