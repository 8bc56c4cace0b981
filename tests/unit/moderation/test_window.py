import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.moderation.matching.folding import fold
from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import Action, Direction, load_pack
from services.moderation.output.window import Window, WindowError
from services.moderation.policy import IGNORABLE_RUN, Policy
from tests.unit.moderation.streams import CUTS, FRAMES, TEXTS, borders, run, whole

PROPERTY = settings(max_examples=400, deadline=None)


@PROPERTY
@given(TEXTS, CUTS, FRAMES)
def test_a_stream_gives_what_screening_the_whole_gives(small_policy, text, cuts, frames):
    window, deltas, _ = run(small_policy, text, cuts, frames)
    expected, redacted = whole(small_policy, text)
    if expected.refusal is None:
        assert window.refusal is None
        assert "".join(delta.text for delta in deltas) == redacted
        assert set(window.verdict.hits) == set(expected.verdict.hits)
        assert window.verdict.action == expected.verdict.action
    else:
        assert window.refusal is not None
        assert window.refusal.rule.id == expected.refusal.rule.id


@pytest.mark.attack(36)
@PROPERTY
@given(TEXTS, CUTS, FRAMES)
def test_no_character_of_a_refused_match_is_released(small_policy, text, cuts, frames):
    _, deltas, _ = run(small_policy, text, cuts, frames)
    released = borders(text, cuts)[sum(len(delta.ids) for delta in deltas)]
    folded = fold(text).closed(len(text))
    for hit in small_policy.find(folded, text, Direction.OUTPUT, -1, len(folded.text)):
        if hit.rule.action is Action.REFUSE:
            assert released <= folded.written(hit.start, hit.end)[0]


@PROPERTY
@given(TEXTS, CUTS, FRAMES)
def test_every_id_comes_out_once_in_order(small_policy, text, cuts, frames):
    window, deltas, _ = run(small_policy, text, cuts, frames)
    following = 5
    for delta in deltas:
        assert delta.first == following
        assert delta.ids == list(range(following - 5, following - 5 + len(delta.ids)))
        assert sum(delta.lengths) == len(delta.text)
        assert len(delta.lengths) == len(delta.ids)
        following += len(delta.ids)
    if window.refusal is None:
        assert window.held == 0
        assert following == window.next_index


@PROPERTY
@given(TEXTS, CUTS, FRAMES)
def test_no_more_is_held_than_the_window(small_policy, text, cuts, frames):
    pieces = 1 + max((cuts.count(cut) for cut in cuts), default=0)
    _, _, held = run(small_policy, text, cuts, frames)
    assert all(count <= (small_policy.window + 1) * pieces + len(cuts) for count in held)


def words(policy, *texts):
    window = Window(policy)
    out = []
    for number, text in enumerate(texts):
        delta = window.push([number], [len(text)], text)
        out.append(delta.text if delta else None)
    return window, out


def test_text_that_may_begin_an_address_waits_for_one_more_character(small_policy):
    _, out = words(small_policy, "The", " weather", " is", " fine", ".")
    # Any word may begin an address, so it waits for the character after it.
    assert out == [None, "The", " weather", " is", None]


@pytest.fixture
def plain():
    """Only refusals: no rule that begins with any word."""
    text = "pack: p\nversion: 1\nwindow: 40\nrules: [{id: w, category: c, action: refuse, direction: both, "
    return Policy(
        [compile_pack(load_pack(text + "legal_basis: l, description: d, words: [bomb, bath bomb]}]\n"))]
    )


def test_only_a_beginning_of_a_match_is_held(plain):
    _, out = words(plain, "The", " weather", " in", " b", "o", "tswana", " climb", "omb", "s", " bomb", "ast")
    assert out == ["The", " weather", " in", None, None, " botswana", " climb", "omb", "s", None, " bombast"]


def test_a_refusal_releases_nothing_of_the_match_and_nothing_after(plain):
    window, out = words(plain, "I like", " bath", " bomb", "s", " and", " a", " bath", " bomb", ".", "more")
    assert "".join(filter(None, out)) == "I like bath bombs and a"
    assert window.refusal.rule.id == "w"
    assert window.verdict.action is Action.REFUSE
    assert window.finish() is None


def test_a_match_at_the_very_end_is_decided_by_the_end(plain):
    window, out = words(plain, "a ", "bomb")
    assert out == ["a ", None]
    assert window.refusal is None
    assert window.finish() is None
    assert window.refusal is not None


def test_a_redaction_stands_at_the_first_id_of_its_span(small_policy):
    window = Window(small_policy)
    delta = window.push(
        [1, 2, 3, 4, 5, 6], [7, 7, 5, 5, 1, 1], "card 41" + "11 1111" + " 1111" + " 1111" + "!" + " "
    )
    assert delta.text == "card [card]! "
    assert delta.lengths == [11, 0, 0, 0, 1, 1]
    assert delta.ids == [1, 2, 3, 4, 5, 6]


def test_labels_of_overlapping_redactions_are_one(small_policy):
    window = Window(small_policy)
    text = "ann lee@home.com  "
    delta = window.push([1], [len(text)], text)
    assert delta.text == "[name]  "


def test_ids_without_text_wait_for_the_text_before_them(plain):
    window = Window(plain)
    assert window.push([1], [0], "").ids == [1]
    assert window.push([2, 3], [1, 0], "b") is None
    assert window.push([4], [0], "") is None
    assert window.push([5], [1], "x").ids == [2, 3, 4, 5]


def test_a_match_that_ended_before_the_next_index_is_ignored(plain):
    window = Window(plain, 9, "he said bomb ")
    assert window.push([1], [6], "and so").text == "and so"
    assert window.refusal is None
    assert window.next_index == 10


def test_a_match_that_began_in_the_context_is_found(plain):
    window = Window(plain, 9, "he said bo")
    assert window.push([1], [3], "mb!") is None
    assert window.refusal.rule.id == "w"


def test_a_word_begun_in_the_context_is_not_taken_for_another(plain):
    window = Window(plain, 9, "clim")
    assert window.push([1], [6], "bomb. ".replace("bomb", "bbbb")).text == "bbbb. "


def test_a_long_run_of_ignorable_characters_is_refused(plain):
    window = Window(plain)
    assert window.push([1], [255], "\u200b" * 255).text
    assert window.push([2], [1], "\u200b") is None
    assert window.refusal.rule is IGNORABLE_RUN


def test_ignorable_characters_are_held_with_the_text_before_them(plain):
    _, out = words(plain, "x bo", "\u200b", "\u0336", "y")
    assert out == [None, None, None, "x bo\u200b\u0336y"]


def test_lengths_that_do_not_add_up_are_an_error(plain):
    with pytest.raises(WindowError):
        Window(plain).push([1], [3], "ab")
    with pytest.raises(WindowError):
        Window(plain).push([1, 2], [2], "ab")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \u0301\u200bom\U0001f1e7e4 1", min_size=200, max_size=900), FRAMES)
def test_long_streams_forget_what_they_need_no_more(small_policy, text, frames):
    cuts = list(range(0, len(text), 3))
    window, deltas, _ = run(small_policy, text, cuts, frames)
    expected, redacted = whole(small_policy, text)
    if expected.refusal is None:
        assert "".join(delta.text for delta in deltas) == redacted
    assert len(window._written) <= 6 * small_policy.window + 600


@pytest.mark.attack(36)
@PROPERTY
@given(TEXTS, CUTS, FRAMES)
def test_nothing_is_exposed(small_policy, text, cuts, frames):
    window, _, _ = run(small_policy, text, cuts, frames)
    assert window.exposed == 0


class Leaky(Policy):
    """Lets everything out at once, which a policy must not."""

    def unresolved(self, folded, direction):
        return 0


@pytest.mark.parametrize("acts", ["refuse", "redact, label: it"])
def test_what_was_let_out_too_early_is_counted(acts):
    text = f"pack: p\nversion: 1\nwindow: 40\nrules: [{{id: w, category: c, action: {acts}, direction: both, "
    pack = load_pack(text + "legal_basis: l, description: d, words: [bomb]}]\n")
    window, _ = words(Leaky([compile_pack(pack)]), "say bo", "m", "b", " now")
    assert window.exposed == len("bomb")
    assert window.verdict.action > Action.FLAG
