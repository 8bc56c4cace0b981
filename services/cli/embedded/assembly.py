"""Which adapters the embedded mode gives to which service."""

from __future__ import annotations

from collections.abc import Mapping

from services.audit import app as audit
from services.audit.republish import GrpcRepublish
from services.audit.settings import AuditSettings
from services.billing import app as billing
from services.billing.settings import BillingSettings
from services.cli.embedded.home import Home
from services.cli.embedded.settings import EmbeddedSettings
from services.cli.offer import offered_model, offered_policies
from services.control import app as control
from services.control.settings import ControlSettings
from services.edge import app as edge
from services.edge.owner.owner import Owner, OwnerSettings
from services.edge.settings import EdgeSettings
from services.edge.sources import GrpcReceipts, GrpcUsage
from services.inference import app as inference
from services.inference.settings import InferenceSettings
from services.moderation import app as moderation
from services.moderation.settings import ModerationSettings
from services.tokenizer import app as tokenizer
from services.tokenizer.settings import TokenizerSettings
from shared.bus.topics import Topics
from shared.callers import Credentials
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.lifecycle import Service
from shared.models.manifest import Manifest
from shared.platform import Platform
from shared.rpc.channel import connect
from shared.rpc.numbers import FixedNumbers
from shared.storage.database import Database
from shared.storage.migrations import open_database

NUMBERS = FixedNumbers(lanes=[0], seats=[0])
"""The one edge's only lane: more would split one process's batches, and nobody else would read them. The one
worker's seat.
"""


class Assembly:
    """Builds each service once, for one home."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        platform: Platform,
        topics: Topics,
        home: Home,
        peppers: Mapping[int, bytes],
        token: str,
        manifest: Manifest,
        around: inference.Around | None = None,
    ) -> None:
        self._around = around
        self._settings = settings
        self._platform = platform
        self._topics = topics
        self._home = home
        self._peppers = dict(peppers)
        self._token = token
        self._manifest = manifest
        self.credentials = self._credentials(token)
        """For the operator's socket: every key, and the process's own token."""

    @property
    def model(self) -> pb.Model:
        """The served model as the configuration names it."""
        return offered_model(self._settings.engine, self._manifest)

    @property
    def policies(self) -> list[pb.Policy]:
        """Every pack of the policies' folder. Raises `FreeholdError`."""
        return offered_policies(self._settings.policies)

    async def control(self) -> control.ControlService:
        """Control, which must run before the others are made."""
        database = await self._database("control")
        return control.build(ControlSettings(), self._platform, database, self._peppers)

    async def others(self) -> list[Service]:
        """All but control and the edge, in the order of their start."""
        channel = connect(self._home.address, self._token)
        return [
            tokenizer.build(
                TokenizerSettings(manifests=(self._settings.manifest,)), self._platform, self._topics
            ),
            moderation.build(ModerationSettings(), self._platform, self._topics),
            billing.build(BillingSettings(), self._platform, self._topics, await self._database("billing")),
            inference.build(self._inference(), self._platform, self._topics, NUMBERS, self._around),
            audit.build(
                AuditSettings(),
                self._platform,
                self._topics,
                await self._database("audit"),
                self._home.path / "audit",
                GrpcRepublish(channel, channel),
            ),
        ]

    def edge(self) -> edge.EdgeService:
        """The edge and the owner behind it."""
        channel = connect(self._home.address)
        settings = EdgeSettings(
            http_host=self._settings.http_host,
            http_port=self._settings.http_port,
            grpc_host=self._settings.http_host,
            grpc_port=self._settings.grpc_port,
            grpc_reflection=self._settings.reflection,
        )
        owner = Owner(self._platform, NUMBERS, OwnerSettings(settings.limits))
        return edge.build(
            settings,
            self._platform,
            owner,
            self._credentials(""),
            GrpcUsage(channel),
            GrpcReceipts(channel),
        )

    def _inference(self) -> InferenceSettings:
        return InferenceSettings(engine=self._settings.engine, manifest=self._settings.manifest)

    def _credentials(self, token: str) -> Credentials:
        platform = self._platform
        return Credentials(platform.configuration, self._peppers, platform.host.clock, token)

    async def _database(self, service: str) -> Database:
        return await open_database(self._home.path / f"{service}.db", service, self._platform.host)
