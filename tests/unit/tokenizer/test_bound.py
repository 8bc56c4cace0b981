"""No prompt has more tokens than the bound that its reservation was made for."""

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from services.tokenizer.model import ServedModel
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.models.bound import prompt_bound

ROLES = (pb.ROLE_SYSTEM, pb.ROLE_DEVELOPER, pb.ROLE_USER, pb.ROLE_ASSISTANT)
NASTY = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40),
    st.text(alphabet="\u200b\ufdfa\u0e33\u1100\U000e0041\ufe0f9", max_size=40),
    st.sampled_from(["", "<|im_start|>", "\n", "\u3000", "\U0001f468\u200d\U0001f469"]),
)
MESSAGES = st.lists(
    st.builds(pb.Message, role=st.sampled_from(ROLES), parts=st.lists(NASTY, max_size=3)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(messages=MESSAGES)
def test_no_counter_example_with_the_real_template(model: ServedModel, messages: list[pb.Message]) -> None:
    request = pb.CompletionRequest(messages=messages)
    count = len(model.encode([model.prompt(request)])[0])
    bound = model.bound_of(request)
    target(float(count - bound))
    assert count <= bound


@settings(max_examples=100, deadline=None)
@given(prompt=NASTY)
def test_no_counter_example_with_a_raw_prompt(model: ServedModel, prompt: str) -> None:
    request = pb.CompletionRequest(prompt=prompt)
    assert len(model.encode([model.prompt(request)])[0]) <= model.bound_of(request)


def test_every_code_point_costs_at_most_its_bytes(model: ServedModel) -> None:
    """The manifest's `expand`, for each code point alone, which is the worst case of byte-level merging."""
    points = [chr(c) for c in range(0x20, 0x30000) if not 0xD800 <= c <= 0xDFFF]
    for point, ids in zip(points, model.vocabulary.encode(points), strict=True):
        assert len(ids) <= model.bound.expand * len(point.encode())


@pytest.mark.parametrize(
    ("octets", "messages", "expected"), [(0, 0, 128), (10, 2, 170), (10**9, 1, 4096), (3952, 1, 4096)]
)
def test_the_formula(octets: int, messages: int, expected: int) -> None:
    assert prompt_bound(4096, 1, 16, 128, octets, messages) == expected


def test_the_text_that_counts_is_all_that_the_template_gets(model: ServedModel) -> None:
    request = pb.CompletionRequest(
        messages=[pb.Message(role=pb.ROLE_USER, parts=["ไทย", "ab"], name="somchai")], user="not given"
    )
    assert model.bound_of(request) == (9 + 2 + 7) + 16 + 128
