"""The gRPC servicer of control: translation only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from services.control.claims import Claims
from services.control.keeper import Keeper
from services.control.publisher import Publications
from services.control.rights import visible
from services.control.values import Value
from shared.callers import Caller
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1 import control_pb2_grpc
from shared.errors import FreeholdError, Kind
from shared.rpc.auth import caller
from shared.rpc.server import translated

Context: TypeAlias = grpc.aio.ServicerContext
V = TypeVar("V", bound=Message)


class ControlServicer(control_pb2_grpc.ControlServicer):
    """`freehold.control.v1.Control`. Rights to change are the keeper's matter; of what is read, models and
    prices are for every key, everything else for administrators.
    """

    def __init__(self, keeper: Keeper, claims: Claims, publications: Publications) -> None:
        self._keeper = keeper
        self._claims = claims
        self._publications = publications

    async def _put(self, value: Value, approver: str) -> int:
        return await self._keeper.put(value, caller(), approver)

    @translated
    async def PutOrganisation(
        self, request: pb.PutOrganisationRequest, _: Context
    ) -> pb.PutOrganisationResponse:
        version = await self._put(request.organisation, request.approver)
        return pb.PutOrganisationResponse(organisation=request.organisation, version=version)

    @translated
    async def ListOrganisations(
        self, _: pb.ListOrganisationsRequest, __: Context
    ) -> pb.ListOrganisationsResponse:
        return pb.ListOrganisationsResponse(organisations=seen(self._keeper.known.organisations, admin()))

    @translated
    async def PutProject(self, request: pb.PutProjectRequest, _: Context) -> pb.PutProjectResponse:
        version = await self._put(request.project, request.approver)
        return pb.PutProjectResponse(project=request.project, version=version)

    @translated
    async def ListProjects(self, request: pb.ListProjectsRequest, _: Context) -> pb.ListProjectsResponse:
        found = seen(self._keeper.known.projects, admin(), organisation=request.organisation)
        return pb.ListProjectsResponse(projects=found)

    @translated
    async def PutPolicy(self, request: pb.PutPolicyRequest, _: Context) -> pb.PutPolicyResponse:
        version = await self._put(request.policy, request.approver)
        return pb.PutPolicyResponse(policy=request.policy, version=version)

    @translated
    async def ListPolicies(self, _: pb.ListPoliciesRequest, __: Context) -> pb.ListPoliciesResponse:
        return pb.ListPoliciesResponse(policies=seen(self._keeper.known.policies, admin()))

    @translated
    async def PutPrice(self, request: pb.PutPriceRequest, _: Context) -> pb.PutPriceResponse:
        version = await self._put(request.price, request.approver)
        return pb.PutPriceResponse(price=request.price, version=version)

    @translated
    async def ListPrices(self, _: pb.ListPricesRequest, __: Context) -> pb.ListPricesResponse:
        return pb.ListPricesResponse(prices=seen(self._keeper.known.prices, caller()))

    @translated
    async def PutBudget(self, request: pb.PutBudgetRequest, _: Context) -> pb.PutBudgetResponse:
        version = await self._put(request.budget, request.approver)
        return pb.PutBudgetResponse(budget=request.budget, version=version)

    @translated
    async def ListBudgets(self, request: pb.ListBudgetsRequest, _: Context) -> pb.ListBudgetsResponse:
        found = seen(self._keeper.known.budgets, admin(), organisation=request.organisation)
        return pb.ListBudgetsResponse(budgets=found)

    @translated
    async def PutModel(self, request: pb.PutModelRequest, _: Context) -> pb.PutModelResponse:
        version = await self._put(request.model, request.approver)
        return pb.PutModelResponse(model=request.model, version=version)

    @translated
    async def ListModels(self, _: pb.ListModelsRequest, __: Context) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=seen(self._keeper.known.models, caller()))

    @translated
    async def CreateKey(self, request: pb.CreateKeyRequest, _: Context) -> pb.CreateKeyResponse:
        key, secret = await self._keeper.create_key(request.key, caller())
        return pb.CreateKeyResponse(key=without_hash(key), secret=secret)

    @translated
    async def RevokeKey(self, request: pb.RevokeKeyRequest, _: Context) -> pb.RevokeKeyResponse:
        return pb.RevokeKeyResponse(key=without_hash(await self._keeper.revoke_key(request.id, caller())))

    @translated
    async def ListKeys(self, request: pb.ListKeysRequest, _: Context) -> pb.ListKeysResponse:
        found: list[config.Key] = seen(self._keeper.known.keys, admin(), project=request.project)
        return pb.ListKeysResponse(keys=[without_hash(key) for key in found])

    @translated
    async def ClaimNumbers(self, request: pb.ClaimNumbersRequest, _: Context) -> pb.ClaimNumbersResponse:
        operator()
        numbers = await self._claims.claim(request.kind, request.count, request.incarnation)
        return pb.ClaimNumbersResponse(numbers=numbers)

    @translated
    async def RepublishFacts(
        self, request: pb.RepublishFactsRequest, _: Context
    ) -> pb.RepublishFactsResponse:
        operator()
        published = await self._publications.republish(request.from_seq, request.to_seq)
        return pb.RepublishFactsResponse(published=published)


def admin() -> Caller:
    """The caller. Raises `FreeholdError` FORBIDDEN unless an administrator, of a tenant or of all."""
    caller().require("admin")
    return caller()


def operator() -> None:
    """Raises `FreeholdError` FORBIDDEN unless the caller is an operator."""
    if not caller().operator:
        raise FreeholdError(Kind.FORBIDDEN, "only an operator may call this")


def seen(values: Mapping[str, V], reader: Caller, **fields: str) -> list[V]:
    """What the reader may see, by id, narrowed by the fields that are not empty."""
    wanted = {name: value for name, value in fields.items() if value}
    return [
        value
        for _, value in sorted(values.items())
        if visible(value, reader) and all(getattr(value, name) == text for name, text in wanted.items())
    ]


def without_hash(key: config.Key) -> config.Key:
    """The key as it may be shown."""
    shown = config.Key()
    shown.CopyFrom(key)
    shown.ClearField("hash")
    return shown


def register(server: Any, servicer: ControlServicer) -> list[str]:
    """Add the servicer to a server; its full name."""
    control_pb2_grpc.add_ControlServicer_to_server(servicer, server)
    return [pb.DESCRIPTOR.services_by_name["Control"].full_name]
