from pathlib import Path

import pytest

from services.moderation.matching.matcher import Matcher, compile_pack
from services.moderation.matching.pack import load_pack
from services.moderation.policy import Policy

PACKS = Path(__file__).parents[3] / "ops" / "policies"

SMALL = r"""
pack: small
version: 1
window: 64
rules:
  - id: word
    category: test
    action: refuse
    direction: both
    legal_basis: test
    description: words, disguised too
    words: [bomb, pipe bomb, sarin, "炸弹"]
    leet: true
    spaced: true
  - id: gap
    category: test
    action: refuse
    direction: both
    legal_basis: test
    description: two words with something between
    patterns: ['\bmake .{0,12}\bnapalm\b', 'napalm\n', '\n\n']
  - id: card
    category: test
    action: redact
    direction: both
    legal_basis: test
    description: a run of digits
    check: card
    patterns: ['\b\d(?:[ \-]?\d){12,18}\b']
  - id: mail
    category: test
    action: redact
    direction: both
    legal_basis: test
    description: an address
    patterns: ['\b[a-z0-9.]{1,20}@[a-z0-9.]{1,20}\.[a-z]{2,6}\b']
  - id: name
    category: test
    action: redact
    direction: output
    legal_basis: test
    description: overlaps with the address
    words: [ann, ann lee, "lee@home"]
  - id: accent
    category: test
    action: redact
    direction: both
    legal_basis: test
    description: accents count
    words: ["giết"]
    accents: exact
  - id: remark
    category: test
    action: flag
    direction: both
    legal_basis: test
    description: noted only
    words: [budget]
"""


@pytest.fixture(scope="session")
def small() -> Matcher:
    return compile_pack(load_pack(SMALL))


@pytest.fixture(scope="session")
def small_policy(small: Matcher) -> Policy:
    return Policy([small])


@pytest.fixture(scope="session")
def base() -> Matcher:
    return compile_pack(load_pack((PACKS / "base.yaml").read_text()))


@pytest.fixture(scope="session")
def base_policy(base: Matcher) -> Policy:
    return Policy([base])
