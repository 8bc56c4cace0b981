import hashlib

import pytest

from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import Action, Direction, PackError, load_pack
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform

RULE = """\
  - id: a.b
    category: c
    action: redact
    direction: output
    legal_basis: law
    description: d
    words: [one, two]
"""
HEAD = "pack: p\nversion: 3\nwindow: 32\nrules:\n"


def test_a_pack_is_read():
    pack = load_pack(HEAD + RULE)
    (rule,) = pack.rules
    assert (pack.id, pack.window) == ("p", 32)
    assert (rule.id, rule.action, rule.directions) == ("a.b", Action.REDACT, {Direction.OUTPUT})
    assert rule.label == "b"


def test_the_version_names_the_text():
    text = HEAD + RULE
    assert load_pack(text).version == f"p@3+{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    assert load_pack(text).version != load_pack(text + " ").version


def test_numbers_are_those_of_the_contract():
    for action in Action:
        assert platform.Verdict.Name(action) == f"VERDICT_{action.name}"
    for direction in Direction:
        assert platform.Direction.Name(direction) == f"DIRECTION_{direction.name}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: a mapping"),
        ("- a", "line 1: a mapping"),
        ("pack: p\nversion: 1\nrules: []\n", "line 1: the field 'window' is missing"),
        ("pack: p\nversion: x\nwindow: 32\n", "version must be a whole number"),
        ("pack: p\nversion: 1\nwindow: 9999\n", "window must be a whole number from"),
        ("pack: P!\nversion: 1\nwindow: 32\n", "pack 'P!' must be lower-case"),
        ("pack: p\nversion: 1\nwindow: 32\n", "has no rules"),
        ("pack: p\npack: q\n", "line 2: the field 'pack' stands twice"),
        (
            "pack: p\nversion: 1\nwindow: 32\ncolour: red\nrules: []\n",
            "line 4: the field 'colour' is unknown",
        ),
        ("pack: &a p\nversion: *a\n", "line 1: anchors, aliases and tags"),
        ("pack: !!python/object p\n", "line 1: anchors, aliases and tags"),
        ("pack: [", "not YAML"),
        ("a: " + "[" * 40_000, "nested deeper than 16"),
        ("a:\n" + "".join(f"{' ' * depth}- \n" for depth in range(1, 60)), "nested deeper than 16"),
        ("pack: p\n#" + "x" * 600_000, "larger than"),
        (HEAD + RULE.replace("redact", "destroy"), "line 5: action must be one of"),
        (HEAD + RULE.replace("output", "up"), "direction must be one of"),
        (HEAD + RULE.replace("a.b", "A B"), "rule id 'A B'"),
        (HEAD + RULE + RULE, "line 12: rule a.b: the id stands twice"),
        (HEAD + RULE.replace("    legal_basis: law\n", ""), "'legal_basis' is missing (in rule a.b)"),
        (HEAD + RULE + "    colour: red\n", "line 12: the field 'colour' is unknown (in rule a.b)"),
        (HEAD + RULE + "    check: magic\n", "check 'magic' is not one of card"),
        (HEAD + RULE + "    label: '[x]'\n", "label must be"),
        (HEAD + RULE.replace("[one, two]", "[]"), "neither patterns nor words"),
        (HEAD + RULE.replace("[one, two]", "{a: b}"), "words must be a list"),
        (HEAD + RULE.replace("[one, two]", "[[a]]"), "words must be text"),
        (HEAD + RULE.replace("[one, two]", '["\\u200b"]'), "is empty after folding"),
        (HEAD + RULE + "    patterns: ['a*']\n", "line 12: '*' and '+' have no bound"),
        (HEAD + RULE + "    patterns: ['a{0,3}']\n", "line 12: matches the empty text"),
        (HEAD + RULE + "    patterns: ['a{33}']\n", "line 12: matches up to 33 characters, the window is 32"),
        (HEAD + RULE + "    patterns: ['\\ba{31}\\b']\n", None),
        (HEAD + RULE + "    patterns: ['\\ba{32}\\b']\n", "matches up to 32 characters, the window is 32"),
        (HEAD + RULE + "    patterns: ['<x>']\n", "line 12: there is no fragment 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, said):
    if said is None:
        load_pack(text)
        return
    with pytest.raises(PackError) as caught:
        load_pack(text)
    assert said in str(caught.value)


@pytest.mark.attack(30)
@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        "(?:a{1,30}){1,30}",
        "(?:(?:a{1,9}b{1,9}){1,9}c{1,9}){1,9}",
        "(.*a){20}",
        "|".join(f"x{number}y{{1,12}}" for number in range(200)) + "|" + "[a-z]{0,20}?" * 200,
        "(?:" + "|".join("ab" * 8 for _ in range(200)) + "){2}",
    ],
)
def test_evil_patterns_are_refused_when_the_pack_is_read(pattern):
    with pytest.raises(PackError):
        load_pack(HEAD + RULE + f"    patterns: ['{pattern}']\n")


def test_a_pack_that_is_too_large_in_all_is_refused():
    rules = "".join(
        RULE.replace("a.b", f"r{number}").replace("[one, two]", f"[{', '.join(['abcdefghij' * 3] * 2000)}]")
        for number in range(3)
    )
    with pytest.raises(PackError, match="larger than"):
        load_pack(HEAD + rules)


def test_a_pack_must_pass_its_own_examples():
    wrong = load_pack(HEAD + RULE + "    examples: [three]\n")
    with pytest.raises(PackError, match=r"line 5: rule a.b does not match its example 'three'"):
        compile_pack(wrong)
    strict = load_pack(HEAD + RULE + "    passes: [one more]\n")
    with pytest.raises(PackError, match="matches what it should let pass 'one more'"):
        compile_pack(strict)


def test_a_pattern_that_never_matches_is_named():
    with pytest.raises(PackError, match=r"line 5: rule a.b has a pattern"):
        compile_pack(load_pack(HEAD + RULE + "    patterns: ['a\\ba']\n"))


def test_fragments_stand_for_their_patterns():
    text = (
        HEAD.replace("rules:", "fragments: {verb: 'make|build'}\nrules:")
        + RULE
        + "    patterns: ['<verb> it']\n"
    )
    pack = load_pack(text)
    assert pack.rules[0].expressions[0].node.longest == 10
