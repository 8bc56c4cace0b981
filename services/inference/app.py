"""Wiring of inference."""

from __future__ import annotations

import logging
from collections.abc import Callable

import grpc

from services.inference import rpc
from services.inference.desk import Desk, Loaded
from services.inference.engine import Engine
from services.inference.engines.loading import LoadError, load_engine
from services.inference.plant import Plant, assemble, plan
from services.inference.rpc import InferenceServicer
from services.inference.served import as_served
from services.inference.settings import InferenceSettings
from shared.bus.consumer import Consumer
from shared.bus.ports import BusError
from shared.bus.topics import Topics
from shared.contracts.freehold.control.v1.control_pb2 import NUMBER_KIND_SEAT
from shared.contracts.freehold.platform.v1 import pulse_pb2 as pulse
from shared.errors import FreeholdError, Kind
from shared.ids import Ids
from shared.lifecycle import READY, Readiness, Tasks
from shared.models.manifest import Manifest, ManifestError, load_manifest
from shared.platform import Platform
from shared.rpc.numbers import Numbers

log = logging.getLogger(__name__)

RETRY_S = 0.5
DRAIN_S = 2.0
"""Before a stop's deadline: what still runs is broken off, so that its usage and end go out in time."""
DRAIN_POLL_S = 0.02
LAST_WORK_S = 0.25
"""From the pulse that says that it stops to the last work that owners send here: it is answered, not lost."""

Around = Callable[[Engine], Engine]


class InferenceService:
    """The worker as a process runs it: one engine, one model, one seat."""

    name = "inference"

    def __init__(
        self,
        settings: InferenceSettings,
        platform: Platform,
        topics: Topics,
        numbers: Numbers,
        around: Around | None,
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._topics = topics
        self._numbers = numbers
        self._around = around
        self._manifest: Manifest | None = None
        self._plant: Plant | None = None
        self._seat = 0
        self._consumer: Consumer | None = None
        self._tasks = Tasks(self.name, self._broke)
        self._broken = ""
        self._stopping = False
        desk = Desk(self, Ids(platform.host.clock, platform.host.random), settings.diagnostics)
        self._servicer = InferenceServicer(desk, platform.host.clock)

    async def start(self) -> None:
        """Load the engine, then take the seat once the configuration is whole and names these digests.

        Raises `FreeholdError` NOT_READY for a model or an engine that is refused.
        """
        try:
            manifest = load_manifest(self._settings.manifest)
            self._manifest = as_served(self._settings.engine, manifest)
            self._plant = plant = await self._build(manifest, self._manifest)
        except (LoadError, ManifestError) as error:
            raise FreeholdError(Kind.NOT_READY, str(error)) from error
        plant.run(self._tasks, self._platform.host.clock, self._settings.stalled_s)
        self._tasks.spawn(self._take_seat(plant), "seat")

    async def _build(self, manifest: Manifest, served: Manifest) -> Plant:
        settings, platform = self._settings, self._platform
        executor = platform.host.executor("engine")
        try:
            engine = await executor.run(
                load_engine,
                settings.engine,
                manifest,
                plan(settings).sizes,
                settings.library,
                settings.tokens_per_second,
            )
        except BaseException:
            executor.close()
            raise
        if self._around is not None:
            engine = self._around(engine)
        return assemble(settings, platform, self._topics, self._tasks, served, engine, executor)

    async def _take_seat(self, plant: Plant) -> None:
        await self._platform.config.wait_ready()
        clock = self._platform.host.clock
        while not self._agreed().ready:
            await clock.sleep(RETRY_S)
        self._seat = (await self._numbers.claim(NUMBER_KIND_SEAT, 1, self._platform.host.incarnation))[0]
        self._consumer = consumer = plant.consumer(self._seat)
        while True:
            try:
                await consumer.start()
            except BusError as error:
                log.warning("the seat cannot be taken yet: %s", error)
                await clock.sleep(RETRY_S)
            else:
                break
        self._platform.pulses.add(self.name, lambda: self.readiness().ready, self.load)
        self._platform.pulses.send_now()

    def _agreed(self) -> Readiness:
        """Whether the configuration names the model that is loaded."""
        manifest = self._manifest
        if manifest is None:
            return Readiness(False, "the model is not loaded yet")
        model = self._platform.configuration.models.get(manifest.name)
        if model is None or model.disabled:
            return Readiness(False, f"the configuration does not offer the model {manifest.name}")
        stated = (model.weights_digest, model.tokenizer_digest, model.template_digest)
        if stated != (manifest.weights_sha256, manifest.tokenizer_sha256, manifest.template_sha256):
            return Readiness(False, f"the configuration names other digests of {manifest.name}")
        return READY

    def _broke(self, task: str, error: BaseException) -> None:
        """A task of ours failed: nothing can be promised any more, and what runs is told so."""
        self._broken = f"{task} failed: {error}"
        if self._plant is not None:
            self._plant.handler.draining = True
            self._plant.generation.fail_all()

    async def stop(self, deadline: float) -> None:
        """Let what runs finish, break the rest off in time for its usage to be durable, free the engine.

        Idempotent.
        """
        self._stopping = True
        self._platform.pulses.send_now()
        plant = self._plant
        if plant is None:
            await self._tasks.cancel()
            return
        plant.handler.draining = True
        await self._wait(self._said_so, deadline - DRAIN_S)
        await self._platform.host.clock.sleep(LAST_WORK_S)
        await self._wait(lambda: not plant.generation.attempts(), deadline - DRAIN_S)
        for attempt in plant.generation.attempts():
            if not attempt.ended:
                plant.replies.draining(attempt)
                plant.generation.abandon(attempt)
        await self._wait(lambda: not plant.busy, deadline)
        if self._consumer is not None:
            await self._consumer.stop(deadline)
        await self._tasks.cancel()
        self._plant = None
        await plant.worker.close()

    def _said_so(self) -> bool:
        """Whether owners hear that this worker takes nothing more; nothing was ever said without a seat."""
        said = self._platform.pulses.own(self.name)
        return said is None or not said.ready

    async def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        clock = self._platform.host.clock
        while not done() and clock.monotonic() < deadline:
            await clock.sleep(DRAIN_POLL_S)

    def readiness(self) -> Readiness:
        """Ready with the engine loaded, the configuration agreeing, and the seat taken."""
        if self._broken or self._stopping:
            return Readiness(False, self._broken or "the worker stops")
        for state in (self._platform.config.readiness(), self._agreed()):
            if not state.ready:
                return state
        if self._plant is None:
            return Readiness(False, "the engine is not loaded yet")
        if self._consumer is None:
            return Readiness(False, "no seat has been claimed yet")
        return self._consumer.readiness()

    def loaded(self) -> Loaded | None:
        """See `desk.Holder`."""
        if self._plant is None:
            return None
        return Loaded(self._plant.generation, self._plant.understand, self._served())

    def _served(self) -> pulse.ServedModel:
        manifest = self._manifest
        if manifest is None or self._plant is None:
            return pulse.ServedModel()
        return pulse.ServedModel(
            name=manifest.name,
            weights_digest=manifest.weights_sha256,
            tokenizer_digest=manifest.tokenizer_sha256,
            context=min(manifest.context, self._plant.capabilities.cells),
        )

    def load(self) -> pulse.WorkerLoad:
        """What a pulse says: the worst case of what was taken counts as used."""
        plant = self._plant
        if plant is None:
            return pulse.WorkerLoad(seat=self._seat)
        admission = plant.generation.admission
        return pulse.WorkerLoad(
            seat=self._seat,
            models=[self._served()],
            slots=admission.slots,
            free_slots=admission.free_slots,
            cells=admission.cells,
            free_cells=admission.free_cells,
            queued=admission.queued,
        )

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add `freehold.inference.v1.Inference`."""
        return rpc.register(server, self._servicer)


def build(
    settings: InferenceSettings,
    platform: Platform,
    topics: Topics,
    numbers: Numbers,
    around: Around | None = None,
) -> InferenceService:
    """The worker on the bus of this process, in a seat from `numbers`; `around` may put a recorder inside
    the engine port.
    """
    return InferenceService(settings, platform, topics, numbers, around)
