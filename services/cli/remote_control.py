"""Control over gRPC, as those who seed an installation need it."""

from __future__ import annotations

import grpc
from google.protobuf.message import Message

from services.control.values import Value, checked
from shared.bus.ports import Record
from shared.callers import Caller
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub


class RemoteControl:
    """A `services.control.seed.Desk`. Who calls is what the channel's credential says."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._control = ControlStub(channel)
        self.known = Configuration()

    async def load(self) -> None:
        """Fill `known`."""
        control = self._control
        values: list[Value] = [
            *(await control.ListPolicies(pb.ListPoliciesRequest())).policies,
            *(await control.ListModels(pb.ListModelsRequest())).models,
            *(await control.ListOrganisations(pb.ListOrganisationsRequest())).organisations,
            *(await control.ListProjects(pb.ListProjectsRequest())).projects,
            *(await control.ListPrices(pb.ListPricesRequest())).prices,
            *(await control.ListBudgets(pb.ListBudgetsRequest())).budgets,
        ]
        for value in values:
            self._keep(value)

    async def put(self, value: Value, caller: Caller) -> int:
        """See `Desk.put`; `caller` is not sent."""
        del caller
        name, asked = PUTS[type(value)]
        answer = await getattr(self._control, f"Put{name.title()}")(asked(**{name: value}))
        self._keep(value)
        return int(answer.version)

    async def create_key(self, asked: config.Key, caller: Caller) -> tuple[config.Key, str]:
        """See `Desk.create_key`; `caller` is not sent."""
        del caller
        answer = await self._control.CreateKey(pb.CreateKeyRequest(key=asked))
        return answer.key, answer.secret

    def _keep(self, value: Value) -> None:
        kind, identifier = checked(value, self.known)
        key = config_key(kind, identifier)
        self.known.apply(Record("config", 0, 0, 0, key, value.SerializeToString(), ()))


PUTS: dict[type[Value], tuple[str, type[Message]]] = {
    config.Organisation: ("organisation", pb.PutOrganisationRequest),
    config.Project: ("project", pb.PutProjectRequest),
    config.Policy: ("policy", pb.PutPolicyRequest),
    config.Price: ("price", pb.PutPriceRequest),
    config.Budget: ("budget", pb.PutBudgetRequest),
    config.Model: ("model", pb.PutModelRequest),
}
"""Type of a value -> its field, and the request that puts it."""
