"""Between the contracts and what moderation works with."""

from __future__ import annotations

from collections.abc import Iterable

from services.moderation.matching.pack import Action, Direction
from services.moderation.policy import Hit, Verdict
from services.moderation.screening import Passage, Screening, Span
from shared.contracts.freehold.edge.v1 import request_pb2 as edge
from shared.contracts.freehold.moderation.v1 import events_pb2 as pb
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform
from shared.errors import Kind

Reading = tuple[list[Passage], list[list[int]]]
"""Passages, and rows of them by index."""


def read_request(request: edge.CompletionRequest) -> Reading:
    """Every text of a request that may reach the model, with the paths that a redaction names.

    `user` and `metadata` never reach it. Two rows: all messages in order, and the user's own, so that a
    word split over messages or over roles is one word.
    """
    passages: list[Passage] = []
    whole: list[int] = []
    own: list[int] = []

    def add(text: str, path: str, *at: int) -> None:
        if text:
            passages.append(Passage(path.format(*at), text))

    add(request.prompt, "prompt")
    for number, message in enumerate(request.messages):
        for place, part in enumerate(message.parts):
            if part:
                whole.append(len(passages))
                if message.role == edge.ROLE_USER:
                    own.append(len(passages))
            add(part, "messages[{}].parts[{}]", number, place)
        add(message.name, "messages[{}].name", number)
        add(message.tool_call_id, "messages[{}].tool_call_id", number)
        for place, call in enumerate(message.tool_calls):
            add(call.id, "messages[{}].tool_calls[{}].id", number, place)
            add(call.name, "messages[{}].tool_calls[{}].name", number, place)
            add(call.arguments, "messages[{}].tool_calls[{}].arguments", number, place)
    for number, tool in enumerate(request.tools):
        add(tool.name, "tools[{}].name", number)
        add(tool.description, "tools[{}].description", number)
        add(tool.parameters, "tools[{}].parameters", number)
    for number, stop in enumerate(request.stop):
        add(stop, "stop[{}]", number)
    add(request.format.definition, "format.definition")
    rows = [row for row in (whole, own) if len(row) > 1]
    return passages, rows[:1] if whole == own else rows


def longest(passages: Iterable[Passage]) -> str:
    """The text of the longest of them; empty for none."""
    return max((text for _, text in passages), key=len, default="")


def cost(passages: Iterable[Passage]) -> int:
    """What screening them costs, in ASCII characters."""
    return sum(len(text) if text.isascii() else 8 * len(text) for _, text in passages)


def rule_match(hit: Hit, direction: Direction) -> platform.RuleMatch:
    """A rule that matched, without the text."""
    return platform.RuleMatch(
        rule=hit.rule.id,
        category=hit.rule.category,
        policy_version=hit.version,
        action=platform.Verdict.Name(hit.rule.action),
        direction=platform.Direction.Name(direction),
    )


def rule_matches(verdict: Verdict, direction: Direction) -> list[platform.RuleMatch]:
    """The rules that matched; not those on trial."""
    return [rule_match(hit, direction) for hit in verdict.hits.values() if hit.rule.action > Action.ALLOW]


def spans(found: Iterable[Span]) -> list[pb.RedactedSpan]:
    """What is to be replaced."""
    return [
        pb.RedactedSpan(field=path, start=start, end=end, label=label) for path, start, end, label in found
    ]


def answer(screening: Screening, versions: list[str], window: int) -> pb.Screened | platform.RequestRefused:
    """What the owner of a request is told."""
    matches = rule_matches(screening.verdict, Direction.INPUT)
    if screening.refusal is None:
        return pb.Screened(
            verdict=platform.Verdict.Name(screening.verdict.action),
            matches=matches,
            policy_versions=versions,
            spans=spans(screening.spans),
            window=window,
        )
    rule, version = screening.refusal.rule.id, screening.refusal.version
    return platform.RequestRefused(
        by=platform.REFUSER_POLICY,
        kind=Kind.POLICY.name,
        code=Kind.POLICY.value,
        message=f"The request is refused by rule {rule} of policy {version}.",
        param=screening.refused,
        rule=rule,
        policy_versions=versions,
        matches=matches,
    )
