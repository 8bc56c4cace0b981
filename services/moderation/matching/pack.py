"""Policy packs: what an operator writes, read into rules whose patterns are bounded.

The version of a pack is `ID@N+` and the first 12 hexadecimal digits of the SHA-256 of its text, as it
stands in the configuration: whoever changes one character of a pack has another version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from services.moderation.matching.document import DocumentError, Section, read_document
from services.moderation.matching.pattern import PatternError, parse
from services.moderation.matching.tree import Choice, Node
from services.moderation.matching.validators import CHECKS, Check
from services.moderation.matching.words import phrase

MAX_RULES = 500
MAX_PATTERNS = 200
MAX_WORDS = 2_000
MAX_PATTERN_POSITIONS = 4_000
MAX_POSITIONS = 150_000
"""Characters of all patterns with their repetitions written out: bounds the time to compile a pack."""
WINDOW_BOUNDS = (16, 256)
WORDS_TOGETHER = 100
"""Words that are compiled as one expression."""

_NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+){0,5}")
_FRAGMENT = re.compile(r"<([a-z][a-z-]*)>")
_LABEL = re.compile(r"[a-z0-9-]{1,32}")


class PackError(ValueError):
    """A pack that must not be used; the message names pack, line and rule."""


class Action(IntEnum):
    """What a match leads to; higher is stricter. The numbers are those of the contract's `Verdict`."""

    ALLOW = 1
    """Counted, and no more: to try a rule before it acts."""
    FLAG = 2
    REDACT = 3
    REFUSE = 4


class Direction(IntEnum):
    """The numbers are those of the contract's `Direction`."""

    INPUT = 1
    OUTPUT = 2


@dataclass(frozen=True)
class Expression:
    """One compiled unit of a rule."""

    node: Node
    written: str = ""
    """Where accents count: the word as it must have been written. Empty: they do not."""


@dataclass(frozen=True)
class Rule:
    """One rule of a pack."""

    id: str
    category: str
    action: Action
    directions: frozenset[Direction]
    label: str
    """Stands in place of what is redacted, in brackets."""
    legal_basis: str
    description: str
    check: Check | None
    expressions: tuple[Expression, ...]
    examples: tuple[str, ...]
    """Texts that the rule must match."""
    passes: tuple[str, ...]
    """Texts that it must not match."""
    line: int


@dataclass(frozen=True)
class Pack:
    """A pack as it was written."""

    id: str
    version: str
    title: str
    window: int
    """W: the longest match, in folded characters."""
    languages: dict[str, str]
    rules: tuple[Rule, ...]


def load_pack(text: str) -> Pack:
    """Read a pack. Raises `PackError` with the first thing that is wrong. Checks no example yet."""
    try:
        document = read_document(text)
        name = document.text("pack")
        number = document.number("version", 1, 1_000_000)
        window = document.number("window", *WINDOW_BOUNDS)
        title = document.text("title", "")
        languages = document.notes("languages", 50)
        fragments = document.notes("fragments", 100)
        if not _NAME.fullmatch(name):
            document.refuse(f"pack {name!r} must be lower-case words joined by '-' or '.'")
        rules = tuple(_rules(document.sections("rules", MAX_RULES), window, fragments))
        document.finish()
    except DocumentError as error:
        raise PackError(str(error)) from None
    if not rules:
        raise PackError(f"pack {name} has no rules")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Pack(name, f"{name}@{number}+{digest}", title, window, languages, rules)


def _rules(sections: list[Section], window: int, fragments: Mapping[str, str]) -> Iterator[Rule]:
    seen: set[str] = set()
    left = MAX_POSITIONS
    for section in sections:
        name = section.text("id")
        if not _NAME.fullmatch(name):
            section.refuse(f"rule id {name!r} must be lower-case words joined by '-' or '.'")
        if name in seen:
            section.refuse(f"rule {name}: the id stands twice")
        seen.add(name)
        try:
            rule = _rule(name, section, window, fragments)
        except DocumentError as error:
            raise DocumentError(f"{error} (in rule {name})") from None
        left -= sum(expression.node.positions for expression in rule.expressions)
        if left < 0:
            section.refuse(
                f"rule {name}: the pack's patterns are larger than {MAX_POSITIONS} characters in all"
            )
        yield rule


def _rule(name: str, section: Section, window: int, fragments: Mapping[str, str]) -> Rule:
    action = Action[section.choice("action", [action.name.lower() for action in Action]).upper()]
    direction = section.choice("direction", ("input", "output", "both"))
    label = section.text("label", name.rsplit(".", 1)[-1] if action is Action.REDACT else "")
    if label and not _LABEL.fullmatch(label):
        section.refuse("label must be 1 to 32 lower-case letters, digits or '-'")
    check = section.text("check", "")
    if check and check not in CHECKS:
        section.refuse(f"check {check!r} is not one of {', '.join(sorted(CHECKS))}")
    rule = Rule(
        id=name,
        category=section.text("category"),
        action=action,
        directions=frozenset(Direction) if direction == "both" else frozenset({Direction[direction.upper()]}),
        label=label,
        legal_basis=section.text("legal_basis"),
        description=section.text("description"),
        check=CHECKS.get(check),
        expressions=tuple(_expressions(section, window, fragments)),
        examples=tuple(text for _, text in section.texts("examples", 100)),
        passes=tuple(text for _, text in section.texts("passes", 100)),
        line=section.line,
    )
    section.finish()
    if not rule.expressions:
        section.refuse("neither patterns nor words")
    return rule


def _expressions(section: Section, window: int, fragments: Mapping[str, str]) -> Iterator[Expression]:
    for line, pattern in section.texts("patterns", MAX_PATTERNS):
        yield Expression(_bounded(line, window, partial(parse, _filled(line, pattern, fragments))))
    leet, spaced = section.flag("leet"), section.flag("spaced")
    bounded = section.choice("edges", ("words", "none"), "words") == "words"
    exact = section.choice("accents", ("folded", "exact"), "folded") == "exact"
    nodes: list[Node] = []
    for line, word in section.texts("words", MAX_WORDS):
        node = _bounded(line, window, partial(phrase, word, leet=leet, spaced=spaced, bounded=bounded))
        if exact:
            yield Expression(node, word)
        else:
            nodes.append(node)
    for first in range(0, len(nodes), WORDS_TOGETHER):
        yield Expression(Choice(tuple(nodes[first : first + WORDS_TOGETHER])))


def _filled(line: int, pattern: str, fragments: Mapping[str, str]) -> str:
    """A pattern with `<name>` replaced by the pack's fragment of that name."""

    def fragment(found: re.Match[str]) -> str:
        if found[1] not in fragments:
            raise DocumentError(f"line {line}: there is no fragment {found[1]!r}")
        return f"(?:{fragments[found[1]]})"

    return _FRAGMENT.sub(fragment, pattern)


def _bounded(line: int, window: int, read: Callable[[], Node]) -> Node:
    try:
        node = read()
    except PatternError as error:
        raise DocumentError(f"line {line}: {error}") from None
    if not node.shortest:
        raise DocumentError(f"line {line}: matches the empty text")
    if node.longest + node.edged > window:
        raise DocumentError(f"line {line}: matches up to {node.longest} characters, the window is {window}")
    if node.positions > MAX_PATTERN_POSITIONS:
        raise DocumentError(f"line {line}: larger than {MAX_PATTERN_POSITIONS} characters, written out")
    return node
