import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.moderation.matching.folding import fold
from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import Direction, PackError, load_pack
from services.moderation.matching.pattern import PatternError, parse
from services.moderation.matching.tree import unresolved
from services.moderation.matching.words import phrase

SINGLE = st.sampled_from(["a", "b", r"\d", "[ab1]", "[^a]", ".", " ", r"\b", r"\w", r"\S", "é"])


def _grow(parts):
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.tuples(parts, st.integers(0, 2), st.integers(1, 3)).map(
            lambda found: f"(?:{found[0]}){{{min(found[1], found[2])},{found[2]}}}"
        ),
    )


PATTERNS = st.recursive(SINGLE, _grow, max_leaves=5)
TEXTS = st.text(alphabet="ab1 \n-\u00e9\u0301\u200b", max_size=9)


def matcher_of(pattern):
    quoted = pattern.replace("'", "''")
    pack = load_pack(
        "pack: p\nversion: 1\nwindow: 128\nrules: [{id: r, category: c, action: redact, direction: both, "
        f"legal_basis: l, description: d, patterns: ['{quoted}']}}]\n"
    )
    try:
        return compile_pack(pack)
    except PackError as error:
        assume("never matches" not in str(error))
        raise


def begins_and_ends(node, text):
    """What Python's own engine says: for every end, the earliest start."""
    found = {}
    for end in range(len(text) + 1):
        rest = len(text) - end
        rule = re.compile(rf"(?:{node.forward})(?=[\s\S]{{{rest}}}\Z)", re.ASCII)
        for start in range(end):
            if rule.match(text, start):
                found[end] = start
                break
    return found


def usable(pattern):
    try:
        node = parse(pattern)
    except PatternError:
        return False
    return node.shortest > 0 and r"\b)" not in pattern.replace("|", ")")


@settings(max_examples=250, deadline=None)
@given(PATTERNS.filter(usable), st.lists(TEXTS, min_size=1, max_size=6))
def test_every_end_is_found_with_its_earliest_start(pattern, texts):
    matcher = matcher_of(pattern)
    for text in texts:
        folded = fold(text)
        found = matcher.find(folded, text, Direction.INPUT, -1, len(folded.text))
        expected = begins_and_ends(parse(pattern), folded.text)
        assert {candidate.end: candidate.start for candidate in found} == expected


@settings(max_examples=250, deadline=None)
@given(PATTERNS.filter(usable), TEXTS, TEXTS)
def test_whatever_may_still_match_is_unresolved(pattern, text, more):
    matcher = matcher_of(pattern)
    node = parse(pattern)
    before, after = fold(text).text, fold(text + more).text
    held = len(before) - matcher.unresolved(before, Direction.OUTPUT)
    for end, start in begins_and_ends(node, after).items():
        if end >= len(before) and start < len(before):
            assert start >= held


@pytest.mark.parametrize(
    ("pattern", "text", "count"),
    [
        (r"\bbomb\b", "a bo", 2),
        (r"\bbomb\b", "a bomb", 4),
        (r"\bbomb\b", "climb", 0),
        (r"\bbomb\b", "a bomber", 0),
        ("bomb", "climb", 1),
        ("a.{0,3}b", "xa123", 4),
        ("a.{0,3}b", "xa1234", 0),
        ("(?:ab|c){1,2}d", "xabc", 3),
    ],
)
def test_only_a_beginning_is_unresolved(pattern, text, count):
    assert re.match(unresolved(parse(pattern)), text[::-1]) is not None
    assert matcher_of(pattern).unresolved(text, Direction.OUTPUT) == count


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest"),
    [("abc", 3, 3), ("a|bcd", 1, 3), ("a{2,5}", 2, 5), ("(?:ab?){3}", 3, 6), (r"\bx\b", 1, 1), ("a b", 3, 5)],
)
def test_widths(pattern, shortest, longest):
    node = parse(pattern)
    assert (node.shortest, node.longest) == (shortest, longest)


@pytest.mark.attack(30)
@pytest.mark.parametrize(
    "pattern",
    ["a*", "a+", "a{2,}", "a{,3}", "^a", "a$", r"(a)\1", "(?=a)", "(?i)a", "(?P<n>a)", "a{3,2}", "a{0}",
     "a{1,2000}", "(a", "a)", "[a", "[]", "[z-a]", r"\q", r"\p{L}", "a\\", "{1}", "?", "a{1,2}{3}", "a{1,2}?",
     r"\b{2}", "[ﬁ]", "(" * 20 + "a" + ")" * 20, "a" * 4_001, r"[a-\d]"],
)  # fmt: skip
def test_what_is_not_understood_or_has_no_bound_is_refused(pattern):
    with pytest.raises(PatternError):
        parse(pattern)


def test_literals_of_a_pattern_are_folded():
    assert parse("Éa").forward == parse("ea").forward
    assert parse("[É]").forward == "[e]"
    assert parse(r"[\s\d.]x").forward == r"[\t\n\v\f\r 0-9\.]x"


def test_phrases_may_be_read_through_their_disguises():
    plain, hidden = phrase("Pipe Bomb"), phrase("pipe bomb", leet=True, spaced=True)
    assert re.search(plain.forward, "a pipe  bomb")
    assert not re.search(plain.forward, "a pip3 bomb")
    for text in ("a p1p3 b0mb", "p i p e b o m b", "p.i.p.e.b.0.m.b", "pipe bomb"):
        assert re.search(hidden.forward, text), text
    for text in ("pipe bombs", "pi pe bomb", "xpipe bomb"):
        assert not re.search(hidden.forward, text), text
    assert phrase("炸弹").forward == "炸弹"
    with pytest.raises(PatternError):
        phrase("\u200b ")
