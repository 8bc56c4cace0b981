"""The gRPC servicer of moderation: translation only."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from services.moderation import wire
from services.moderation.desk import Desk
from services.moderation.matching.pack import Action, Direction, Pack, Rule
from shared.contracts.freehold.moderation.v1 import moderation_pb2 as pb
from shared.contracts.freehold.moderation.v1 import moderation_pb2_grpc
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform
from shared.rpc.auth import caller
from shared.rpc.server import translated

Context: TypeAlias = grpc.aio.ServicerContext


class ModerationServicer(moderation_pb2_grpc.ModerationServicer):
    """`freehold.moderation.v1.Moderation`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @translated
    async def Classify(self, request: pb.ClassifyRequest, _: Context) -> pb.ClassifyResponse:
        # Unspecified is read as input: what a client sends is a prompt until it says otherwise.
        direction = Direction.OUTPUT if request.direction == platform.DIRECTION_OUTPUT else Direction.INPUT
        found = await self._desk.classify(caller(), request.text, direction, request.policies)
        return pb.ClassifyResponse(
            verdict=platform.Verdict.Name(found.screening.verdict.action),
            matches=wire.rule_matches(found.screening.verdict, direction),
            policy_versions=found.versions,
            spans=wire.spans(found.screening.spans),
        )

    @translated
    async def ListPolicies(self, _request: pb.ListPoliciesRequest, _: Context) -> pb.ListPoliciesResponse:
        return pb.ListPoliciesResponse(policies=[_policy(pack) for pack in self._desk.policies(caller())])


def _policy(pack: Pack) -> pb.Policy:
    rules = [_rule(rule, direction) for rule in pack.rules for direction in sorted(rule.directions)]
    return pb.Policy(id=pack.id, version=pack.version, window=pack.window, rules=rules)


def _rule(rule: Rule, direction: Direction) -> pb.Rule:
    """A rule of both directions is listed for each."""
    return pb.Rule(
        id=rule.id,
        category=rule.category,
        action=platform.Verdict.Name(Action(rule.action)),
        direction=platform.Direction.Name(direction),
        legal_basis=rule.legal_basis,
        description=rule.description,
    )


def register(server: grpc.aio.Server, servicer: ModerationServicer) -> list[str]:
    """Add the servicer and return its full name."""
    moderation_pb2_grpc.add_ModerationServicer_to_server(servicer, server)
    return [pb.DESCRIPTOR.services_by_name["Moderation"].full_name]
