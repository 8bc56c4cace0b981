"""Which adapters the embedded mode gives to which service."""

from __future__ import annotations

from collections.abc import Mapping

from services.audit import app as audit
from services.audit.republish import GrpcRepublish
from services.audit.settings import AuditSettings
from services.billing import app as billing
from services.billing.settings import BillingSettings
from services.cli.home import Home
from services.cli.settings import EmbeddedSettings
from services.control import app as control
from services.control.settings import ControlSettings
from services.edge import app as edge
from services.edge.owner.owner import Owner
from services.edge.settings import EdgeSettings
from services.edge.sources import GrpcReceipts, GrpcUsage
from services.inference import app as inference
from services.inference.engines.loading import as_served
from services.inference.settings import InferenceSettings
from services.moderation import app as moderation
from services.moderation.matching.pack import PackError, load_pack
from services.moderation.settings import ModerationSettings
from services.tokenizer import app as tokenizer
from services.tokenizer.settings import TokenizerSettings
from shared.bus.topics import Topics
from shared.callers import Credentials
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.lifecycle import Service
from shared.models.manifest import Manifest
from shared.platform import Platform
from shared.rpc.channel import connect
from shared.rpc.numbers import FixedNumbers
from shared.storage.database import Database
from shared.storage.migrations import open_database

CREATED_S = 1_730_000_000
"""Of the default model, as `/v1/models` shows it; a constant, so that a restart changes nothing."""
LANE = 0
"""The one edge's only lane: more would split one process's batches, and nobody else would read them."""


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
        manifest = as_served(self._settings.engine, self._manifest)
        return pb.Model(
            name=manifest.name,
            weights_digest=manifest.weights_sha256,
            tokenizer_digest=manifest.tokenizer_sha256,
            template_digest=manifest.template_sha256,
            context=manifest.context,
            default_output=manifest.default_max_tokens,
            expand=manifest.bound.expand,
            per_message=manifest.bound.per_message,
            fixed=manifest.bound.fixed,
            licence=manifest.licence,
            created_s=CREATED_S,
        )

    @property
    def policies(self) -> list[pb.Policy]:
        """Every pack of the policies' folder. Raises `FreeholdError` for one that does not load, and where
        there is none: without a policy nothing would be screened.
        """
        found = []
        folder = self._settings.policies
        paths = sorted(folder.glob("*.yaml"))
        if not paths:
            raise FreeholdError(Kind.NOT_READY, f"policy packs: {folder} holds no file *.yaml")
        for path in paths:
            try:
                text = path.read_text(encoding="utf-8")
                pack = load_pack(text)
            except (PackError, OSError, UnicodeDecodeError) as error:
                reason = " ".join(str(error).split())
                raise FreeholdError(Kind.NOT_READY, f"policy pack {path}: {reason}") from error
            found.append(pb.Policy(id=pack.id, pack=text, version=pack.version))
        return found

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
            inference.build(self._inference(), self._platform, self._topics, self._around),
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
        owner = Owner(self._platform, FixedNumbers([LANE]))
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
