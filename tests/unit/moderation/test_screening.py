import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.moderation.matching.folding import fold
from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import Action, Direction, load_pack
from services.moderation.policy import Policy
from services.moderation.screening import Passage, Span, screen
from services.moderation.wire import answer, cost, read_request
from shared.contracts.freehold.edge.v1.request_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_USER,
    CompletionRequest,
    Format,
    Message,
    Tool,
    ToolCall,
)


def judge(policy, *texts, rows=()):
    return screen(policy, Direction.INPUT, [Passage(f"p{i}", text) for i, text in enumerate(texts)], rows)


def one_word(action):
    return compile_pack(
        load_pack(
            f"pack: strict\nversion: 1\nwindow: 16\nrules: [{{id: w, category: c, action: {action}, "
            "direction: both, legal_basis: l, description: d, words: [budget]}]\n"
        )
    )


def test_spans_are_code_points_of_their_field(small_policy):
    found = judge(small_policy, "hello", "né 4111\u200b1111 1111 1111 é")
    assert found.spans == [Span("p1", 3, 22, "card")]
    assert found.verdict.action is Action.REDACT


def test_the_field_of_a_refusal_is_named(small_policy):
    found = judge(small_policy, "fine", "a bomb")
    assert (found.refusal.rule.id, found.refused) == ("word", "p1")
    assert found.verdict.action is Action.REFUSE


def test_a_flag_leaves_the_text_alone(small_policy):
    found = judge(small_policy, "the budget")
    assert (found.verdict.action, found.spans, found.refusal) == (Action.FLAG, [], None)


@pytest.mark.attack(36)
@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 8), max_size=5))
def test_a_word_split_over_fields_is_one_word(small_policy, cuts):
    word = "pipe bomb"
    parts = [word[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(word)], strict=True)]
    found = judge(small_policy, *parts, rows=[range(len(parts))])
    assert found.refusal is not None
    assert (
        found.refused == f"p{next(i for i, part in enumerate(parts) if part)}"
        or found.refusal.rule.id == "word"
    )


def test_a_number_split_over_fields_is_cut_in_each(small_policy):
    found = judge(small_policy, "no 4111 1111", "", " 1111 1111 ok", rows=[[0, 1, 2]])
    assert found.spans == [Span("p0", 3, 12, "card"), Span("p2", 0, 10, "card")]


def test_what_lies_within_a_field_counts_by_its_own_edges(small_policy):
    assert judge(small_policy, "climb", "omber", rows=[[0, 1]]).refusal is None
    assert judge(small_policy, "clim", "bomb", rows=[[0, 1]]).refusal is not None


def test_a_long_run_of_ignorable_characters_is_refused(small_policy):
    assert judge(small_policy, "a" + "\u200b" * 255).refusal is None
    found = judge(small_policy, "x", "a" + "\u200b" * 256)
    assert (found.refusal.rule.id, found.refused) == ("platform.ignorable-run", "p1")


def test_a_flood_of_matches_is_refused(small_policy):
    found = judge(small_policy, "budget " * 25_000)
    assert found.refusal.rule.id == "platform.match-flood"


def test_the_stricter_of_two_packs_wins(small):
    both = Policy([small, one_word("refuse")])
    assert both.window == 64
    assert [version.partition("@")[0] for version in both.versions] == ["small", "strict"]
    found = judge(both, "the budget of ann@x.sg")
    assert found.refusal.rule.id == "w"
    assert {rule for rule, _ in found.verdict.hits} == {"remark", "w", "mail"}


def test_a_rule_on_trial_is_counted_and_changes_nothing():
    policy = Policy([one_word("allow")])
    found = judge(policy, "budget")
    assert found.verdict.action is Action.ALLOW
    assert list(found.verdict.hits) == [("w", policy.versions[0])]
    assert not answer(found, policy.versions, policy.window).matches


REQUEST = CompletionRequest(
    prompt="",
    messages=[
        Message(role=ROLE_SYSTEM, parts=["s"]),
        Message(role=ROLE_USER, parts=["u1", "", "u2"], name="n"),
        Message(role=ROLE_ASSISTANT, tool_calls=[ToolCall(id="i", name="f", arguments="{}")]),
        Message(role=ROLE_USER, parts=["u3"], tool_call_id="c"),
    ],
    tools=[Tool(name="t", description="d", parameters="{p}")],
    stop=["stop"],
    format=Format(definition="g"),
    user="never read",
    metadata={"k": "never read"},
)


def test_every_text_that_may_reach_the_model_is_read():
    passages, rows = read_request(REQUEST)
    assert [text for _, text in passages] == [
        "s",
        "u1",
        "u2",
        "n",
        "i",
        "f",
        "{}",
        "u3",
        "c",
        "t",
        "d",
        "{p}",
        "stop",
        "g",
    ]
    assert [[passages[index].text for index in row] for row in rows] == [
        ["s", "u1", "u2", "u3"],
        ["u1", "u2", "u3"],
    ]


def test_paths_lead_to_their_text():
    for path, text in read_request(REQUEST)[0]:
        value = REQUEST
        for step in path.split("."):
            name, _, index = step.rstrip("]").partition("[")
            value = getattr(value, name)[int(index)] if index else getattr(value, name)
        assert value == text


def test_a_single_message_is_read_once():
    _, rows = read_request(CompletionRequest(messages=[Message(role=ROLE_USER, parts=["a", "b"])]))
    assert rows == [[0, 1]]
    assert read_request(CompletionRequest(prompt="p"))[1] == []


@pytest.mark.attack(36)
@pytest.mark.parametrize(
    "field", ["prompt", "parts", "name", "arguments", "description", "stop", "definition"]
)
def test_a_banned_word_is_found_in_every_field(small_policy, field):
    word = "a bomb."
    request = {
        "prompt": CompletionRequest(prompt=word),
        "parts": CompletionRequest(messages=[Message(parts=["x", word])]),
        "name": CompletionRequest(messages=[Message(parts=["x"], name=word)]),
        "arguments": CompletionRequest(messages=[Message(tool_calls=[ToolCall(arguments=word)])]),
        "description": CompletionRequest(tools=[Tool(description=word)]),
        "stop": CompletionRequest(stop=[word]),
        "definition": CompletionRequest(format=Format(definition=word)),
    }[field]
    passages, rows = read_request(request)
    found = screen(small_policy, Direction.INPUT, passages, rows)
    refused = answer(found, small_policy.versions, small_policy.window)
    assert refused.rule == "word"
    assert field in refused.param
    assert refused.kind == "POLICY"
    assert refused.code == "content_policy_violation"
    assert word not in refused.message


def test_cost_counts_what_is_slow_more():
    assert cost([Passage("a", "abcd"), Passage("b", "é")]) == 12


PIECES = st.lists(st.sampled_from(["bomb", "pipe ", "budget", "4111 1111 1111 1111", "-", " ", "é", "x"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES.map("".join), max_size=4))
def test_where_all_is_quiet_nothing_is_found(small_policy, texts):
    folds = [fold(text) for text in texts]
    quiet = small_policy.quiet(folded.text for folded in folds)
    for text, folded in zip(texts, folds, strict=True):
        whole = folded.closed(len(text))
        found = small_policy.find(whole, text, Direction.INPUT, -1, len(whole.text))
        assert not (quiet and found)
    assert small_policy.quiet(["x - é", "nothing"])
    assert not small_policy.quiet(["nothing", "the budget"])
