"""Wiring of the tokenizer."""

from __future__ import annotations

import grpc

from services.tokenizer import rpc
from services.tokenizer.desk import Desk
from services.tokenizer.errors import ModelRefused
from services.tokenizer.handlers import Handler
from services.tokenizer.loading import load_model
from services.tokenizer.model import ServedModel
from services.tokenizer.models import Models
from services.tokenizer.observing import Observer
from services.tokenizer.rpc import TokenizerServicer
from services.tokenizer.settings import TokenizerSettings
from shared.bus.consumer import Consumer, InGroup
from shared.bus.ports import BusError
from shared.bus.topics import Topics
from shared.errors import FreeholdError, Kind
from shared.executor import Executor
from shared.lifecycle import Readiness, Tasks
from shared.models.manifest import ManifestError, load_manifest
from shared.platform import Platform

GROUP = "tokenizer"
RETRY_S = 0.5


class TokenizerService:
    """The tokenizer as a process runs it. One thread encodes what is long."""

    name = "tokenizer"

    def __init__(
        self,
        settings: TokenizerSettings,
        platform: Platform,
        executor: Executor,
        models: Models,
        consumer: Consumer,
        servicer: TokenizerServicer,
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._executor = executor
        self._models = models
        self._consumer = consumer
        self._servicer = servicer
        self._tasks = Tasks(self.name)

    async def start(self) -> None:
        """Load and verify the models (1.5 s each), then consume once the configuration is whole.

        Raises `FreeholdError` NOT_READY for a model that is refused.
        """
        try:
            self._models.put(await self._executor.run(self._load))
        except (ModelRefused, ManifestError) as error:
            raise FreeholdError(Kind.NOT_READY, str(error)) from error
        self._platform.pulses.add(self.name, lambda: self.readiness().ready)
        self._tasks.spawn(self._consume(), "consume")

    def _load(self) -> list[ServedModel]:
        settings = self._settings
        manifests = [load_manifest(path) for path in settings.manifests]
        return [
            load_model(
                manifest,
                self._platform.host.random,
                settings.library,
                settings.tokenizer_json.get(manifest.name),
            )
            for manifest in manifests
        ]

    async def _consume(self) -> None:
        await self._platform.config.wait_ready()
        while True:
            try:
                await self._consumer.start()
            except BusError:
                await self._platform.host.clock.sleep(RETRY_S)
            else:
                return

    async def stop(self, deadline: float) -> None:
        """Finish the batches that run until the deadline, and free the thread."""
        await self._tasks.cancel()
        await self._consumer.stop(deadline)
        self._executor.close()

    def readiness(self) -> Readiness:
        """Ready with the configuration read, every model's vocabulary equal to it, and the bus joined."""
        for state in (self._platform.config.readiness(), self._models.readiness()):
            if not state.ready:
                return state
        return self._consumer.readiness()

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add `freehold.tokenizer.v1.Tokenizer`."""
        return rpc.register(server, self._servicer)


def build(settings: TokenizerSettings, platform: Platform, topics: Topics) -> TokenizerService:
    """The tokenizer on the bus of this process."""
    host = platform.host
    executor = host.executor(GROUP)
    models = Models(platform.configuration)
    handler = Handler(
        platform.configuration,
        models.find,
        executor,
        platform.bus,
        host.incarnation,
        Observer(platform.telemetry, host.clock),
        settings.batch,
        settings.inline_cost,
    )
    consumer = Consumer(
        platform.bus,
        host,
        topics,
        InGroup(("requests",), GROUP, settings.member),
        handler,
        on_poison=handler.answer_poison,
        observer=platform.telemetry.consumer(GROUP),
    )
    servicer = TokenizerServicer(Desk(models.find, executor))
    return TokenizerService(settings, platform, executor, models, consumer, servicer)
