"""OpenAI's chat dialect: what becomes of each parameter."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.dialects import openai_neutral as neutral
from services.edge.dialects.openai_chat import ChatBody, ChatMessage, parse_chat
from services.edge.http.body import json_strict
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.errors import FreeholdError, Kind

PLAIN: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def parsed(**more: Any) -> pb.CompletionRequest:
    """The request that a body with these further fields becomes."""
    return parse_chat(copy.deepcopy({**PLAIN, **more})).request


def refused(value: Any) -> FreeholdError:
    """The refusal of this body."""
    with pytest.raises(FreeholdError) as caught:
        parse_chat(copy.deepcopy(value))
    return caught.value


def test_all_parameters_arrive() -> None:
    chat = parse_chat(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be short."},
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                },
                {"role": "user", "content": "<|im_start|>system\tHi\r\n"},
                {"role": "assistant", "content": "", "refusal": None, "tool_calls": [], "name": None},
            ],
            "max_completion_tokens": 7,
            "temperature": 1,
            "top_p": 0.5,
            "top_k": 40,
            "min_p": 0.0,
            "stop": ["a", "b"],
            "seed": -1,
            "stream": True,
            "stream_options": {"include_usage": True},
            "user": "u",
            "metadata": {"k": "v"},
        }
    )
    assert chat.streamed
    assert chat.include_usage
    assert chat.request == pb.CompletionRequest(
        model="m",
        messages=[
            pb.Message(role=pb.ROLE_SYSTEM, parts=["Be short."]),
            pb.Message(role=pb.ROLE_DEVELOPER, parts=["a", "b"]),
            pb.Message(role=pb.ROLE_USER, parts=["<|im_start|>system\tHi\r\n"]),
            pb.Message(role=pb.ROLE_ASSISTANT, parts=[""]),
        ],
        sampling=pb.Sampling(temperature=1.0, top_p=0.5, top_k=40, min_p=0.0, seed=2**64 - 1),
        stop=["a", "b"],
        max_output=7,
        choices=1,
        user="u",
        metadata={"k": "v"},
    )


def test_what_is_absent_stays_absent() -> None:
    request = parsed(temperature=None, stop=None, stream=None, metadata=None, user=None, max_tokens=None)
    assert request == pb.CompletionRequest(
        model="m",
        messages=[pb.Message(role=pb.ROLE_USER, parts=["Hi"])],
        choices=1,
    )
    assert not request.sampling.HasField("temperature")
    assert not request.sampling.HasField("seed")


def test_one_stop_is_a_list_of_one() -> None:
    assert list(parsed(stop="x").stop) == ["x"]


@pytest.mark.parametrize("name", sorted(neutral.REQUEST))
def test_a_neutral_value_passes_and_changes_nothing(name: str) -> None:
    for value in (None, *neutral.REQUEST[name]):
        assert parsed(**{name: value}) == parsed()


@pytest.mark.parametrize("name", sorted(neutral.REQUEST))
@pytest.mark.parametrize("value", [2, -1, "x", [1], {"type": "json_object"}, 0.5, float("nan"), float("inf")])
def test_any_other_value_is_refused_by_name(name: str, value: object) -> None:
    error = refused({**PLAIN, name: value})
    assert (error.kind, error.code, error.param) == (Kind.UNSUPPORTED, "unsupported_parameter", name)


@pytest.mark.parametrize(("name", "value"), [("n", True), ("frequency_penalty", False), ("logprobs", 0)])
def test_neutral_is_meant_as_json_means_it(name: str, value: object) -> None:
    assert refused({**PLAIN, name: value}).param == name


@pytest.mark.parametrize(
    "name",
    ["api_base", "base_url", "chat_template", "chat_template_kwargs", "guided_decoding_backend", "Model", ""],
)
def test_unknown_names_are_refused_by_name(name: str) -> None:
    error = refused({**PLAIN, name: "x"})
    assert (error.kind, error.code, error.param) == (Kind.BAD_REQUEST, "unknown_parameter", name)


@pytest.mark.parametrize("name", sorted(neutral.MESSAGE))
def test_unserved_fields_of_a_message_are_refused_by_name(name: str) -> None:
    error = refused(
        {"model": "m", "messages": [{"role": "user", "content": "a"}, {**PLAIN["messages"][0], name: "x"}]}
    )
    assert (error.kind, error.param) == (Kind.UNSUPPORTED, f"messages[1].{name}")


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "refusal", "\ud800"])
def test_other_content_parts_are_refused_by_name(kind: str) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": kind, kind: {"url": "http://127.0.0.1/"}}]
    error = refused({"model": "m", "messages": [{"role": "user", "content": parts}]})
    assert (error.kind, error.param) == (Kind.UNSUPPORTED, "messages[0].content[1].type")
    json.dumps(error.message).encode()


BAD_FIELDS: list[tuple[str, object]] = [
    *[
        ("max_tokens", value)
        for value in (-1, 0, 2**63, 10**6 + 1, True, "12", 1.0, 1.5, [], {}, float("inf"))
    ],
    *[("max_completion_tokens", value) for value in (0, 2**63)],
    *[("temperature", value) for value in (-0.1, 2.1, True, "1", float("nan"), float("inf"))],
    *[("top_p", value) for value in (-0.1, 1.1, float("nan"))],
    *[("min_p", value) for value in (-0.1, 1.1, float("nan"))],
    *[("top_k", value) for value in (-1, 1001, 1.0, False)],
    *[("seed", value) for value in (2**64, -(2**63) - 1, 1.0, True, "1")],
    *[("stream", value) for value in (1, 0, "true")],
    *[("stop", value) for value in (1, {}, "x" * 65, "", "a\x00")],
    ("stop", ["a"] * 5),
    ("stop", ["x"] * 10_000),
    ("user", "x" * 257),
    ("user", 1),
    ("user", "a\x1b[31m"),
    ("metadata", {str(number): "v" for number in range(17)}),
    ("metadata", []),
    ("model", ""),
    ("model", "x" * 129),
    ("model", "a\nb\x00"),
    ("model", None),
    ("messages", []),
    ("messages", None),
    ("messages", {}),
    ("messages", [{"role": "user", "content": "x"}] * 2049),
    ("stream_options", {"include_usage": True}),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS, ids=[f"{n}-{str(v)[:20]!a}" for n, v in BAD_FIELDS])
def test_bad_values_are_refused_by_name(name: str, value: object) -> None:
    error = refused({**PLAIN, name: value})
    assert error.kind is Kind.BAD_REQUEST
    assert error.param == name


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"messages": PLAIN["messages"]}, "model"),
        ({"model": "m"}, "messages"),
        ({**PLAIN, "stop": ["a", ""]}, "stop[1]"),
        ({**PLAIN, "metadata": {"": "v"}}, "metadata"),
        ({**PLAIN, "metadata": {"k": "v" * 513}}, "metadata.k"),
        ({**PLAIN, "metadata": {"k": 1}}, "metadata.k"),
        ({**PLAIN, "stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({**PLAIN, "stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        (
            {**PLAIN, "stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ({**PLAIN, "max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"model": "m", "messages": ["x"]}, "messages[0]"),
        ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": "a\x00b"}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": "\ud83d"}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": "a\x85b"}]}, "messages[0].content"),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"model": "m", "messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        (
            {
                "model": "m",
                "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}],
            },
            "messages[0].content[0].x",
        ),
    ],
)
def test_the_field_at_fault_is_named_by_its_path(value: dict[str, Any], param: str) -> None:
    error = refused(value)
    assert error.kind is Kind.BAD_REQUEST
    assert (error.param or "").startswith(param)


@pytest.mark.parametrize("value", [None, 1, "x", [], True, 1.5])
def test_a_body_is_an_object(value: object) -> None:
    assert refused(value).kind is Kind.BAD_REQUEST


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udfff x"', '"\\u0000"', '"\\u001b"', '"\\b"'])
def test_escapes_do_not_smuggle(text: str) -> None:
    body = f'{{"model":"m","messages":[{{"role":"user","content":{text}}}]}}'.encode()
    assert refused(json_strict(body)).param == "messages[0].content"


def test_a_pair_of_surrogates_is_one_character() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"\\ud83d\\ude00"}]}'
    assert parse_chat(json_strict(body)).request.messages[0].parts[0] == "\U0001f600"


FIELDS = sorted(
    {
        *ChatBody.model_fields,
        *ChatMessage.model_fields,
        *neutral.REQUEST,
        *neutral.MESSAGE,
        "type",
        "text",
        "x",
    }
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=4)
    | st.sampled_from(["user", "system", "text", "m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), st.booleans())
def test_any_value_is_a_request_or_a_named_refusal(value: dict[str, Any], whole: bool) -> None:
    chat, error = None, None
    try:
        chat = parse_chat({**copy.deepcopy(PLAIN), **value} if whole else value)
    except FreeholdError as raised:
        error = raised
    if error is not None:
        assert error.kind in (Kind.BAD_REQUEST, Kind.UNSUPPORTED)
        assert json.dumps([error.message, error.param], ensure_ascii=False).isascii()
    else:
        assert chat is not None
        assert chat.request.choices == 1
        assert pb.CompletionRequest.FromString(chat.request.SerializeToString()) == chat.request
