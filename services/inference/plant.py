"""A loaded worker: everything that exists only once there is an engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from services.inference import stalling
from services.inference.attempts.admission import Admission
from services.inference.attempts.asking import understand
from services.inference.attempts.attempt import Attempt, Work
from services.inference.attempts.generation import Generation
from services.inference.attempts.replies import Replies
from services.inference.attempts.reports import Reports
from services.inference.attempts.usage import Usage
from services.inference.attempts.watch import Watch
from services.inference.devices.watching import Devices
from services.inference.engine import Capabilities, Engine
from services.inference.engines.loading import Sizes
from services.inference.handlers import Handler
from services.inference.observing import Observer, tell
from services.inference.scheduler import LEAST_PREFILL, Scheduler
from services.inference.settings import InferenceSettings
from services.inference.streams.detokenize import Texts
from services.inference.streams.frames import Frames
from services.inference.worker import Worker
from shared.bus.consumer import Assigned, Consumer
from shared.bus.ports import Start, TopicPartition
from shared.bus.topics import Topics
from shared.clock import Clock
from shared.contracts.freehold.edge.v1.events_pb2 import GenerateTokens
from shared.executor import Executor
from shared.lifecycle import Tasks
from shared.models.manifest import Manifest
from shared.platform import Platform


class Plan(NamedTuple):
    """Sizes that follow from the settings."""

    slots: int
    prefill_tokens: int
    sizes: Sizes


class Plant(NamedTuple):
    """The parts that the service starts, asks and stops."""

    capabilities: Capabilities
    worker: Worker
    generation: Generation
    usage: Usage
    frames: Frames
    watch: Watch
    devices: Devices
    replies: Replies
    reports: Reports
    handler: Handler
    consumer: Callable[[int], Consumer]
    """Of the seat with this number."""
    understand: Callable[[GenerateTokens], Work]

    @property
    def busy(self) -> bool:
        """Whether anything runs, or an end is not told yet."""
        return bool(self.generation.attempts()) or bool(self.usage.waiting) or self.frames.waiting

    def run(self, tasks: Tasks, clock: Clock, stalled_s: float) -> None:
        """Start what runs for ever. An engine that is in one step for `stalled_s` is given up."""
        tasks.spawn(self.worker.run(self.generation.on_steps), "engine")
        tasks.spawn(stalling.watch(self.worker, clock, stalled_s), "stall")
        tasks.spawn(self.usage.run(self._durable), "usage")
        tasks.spawn(self.watch.run(), "watch")
        tasks.spawn(self.reports.run(), "reports")
        tasks.spawn(self.devices.run(), "devices")

    def _durable(self, attempts: list[Attempt]) -> None:
        self.reports.ended(attempts)
        self.generation.on_durable(attempts)


def plan(settings: InferenceSettings) -> Plan:
    """What the engine is made for."""
    slots = settings.chosen(settings.slots, 16, 256)
    prefill_tokens = settings.chosen(settings.prefill_tokens, 64, 8_192)
    sizes = Sizes(
        cells=settings.chosen(settings.cells, 6_144, 1 << 20),
        sequences=slots + settings.kept_sequences,
        batch=max(prefill_tokens, slots + LEAST_PREFILL),
        threads=settings.threads or len(os.sched_getaffinity(0)),
        gpu_layers=settings.gpu_layers,
    )
    return Plan(slots, prefill_tokens, sizes)


def assemble(
    settings: InferenceSettings,
    platform: Platform,
    topics: Topics,
    tasks: Tasks,
    manifest: Manifest,
    engine: Engine,
    executor: Executor,
) -> Plant:
    """The worker around a loaded engine, which lives on `executor`'s thread."""
    host, bus = platform.host, platform.bus
    sizes = plan(settings)
    capabilities = engine.capabilities
    texts = Texts(engine.vocabulary.pieces)

    def understood(asked: GenerateTokens) -> Work:
        return understand(asked, manifest, capabilities.context, len(texts.whole))

    worker = Worker(engine, Scheduler(engine, sizes.slots, sizes.prefill_tokens, texts), executor, host.clock)
    usage = Usage(bus, host, manifest.name, manifest.weights_sha256)
    observer = Observer(platform.telemetry, host.clock, manifest.name)
    replies = Replies(bus, host.incarnation)
    admission = Admission(sizes.slots, settings.queue, capabilities.cells)
    tell(platform.telemetry, admission, worker)
    generation = Generation(
        host, worker, usage, admission, capabilities, texts, observer, replies.engine_failed
    )
    frames = Frames(bus, host, tasks)
    reports = Reports(bus, host, tasks, generation, platform.pulses)
    handler = Handler(
        replies,
        host.incarnation,
        generation,
        frames,
        observer,
        understood,
        manifest.weights_sha256,
        reports.heard,
        bus.partitions("frames"),
    )

    watch = Watch(host.clock, generation, frames, platform.pulses.owner_gone)
    devices = Devices(platform.telemetry, host.clock, lambda: host.executor("devices"))
    return Plant(
        capabilities,
        worker,
        generation,
        usage,
        frames,
        watch,
        devices,
        replies,
        reports,
        handler,
        partial(_consumer, platform, topics, handler, reports),
        understood,
    )


def _consumer(platform: Platform, topics: Topics, handler: Handler, reports: Reports, seat: int) -> Consumer:
    place = TopicPartition("work", seat)
    made = Consumer(
        platform.bus,
        platform.host,
        topics,
        Assigned((place,), Start.END),
        handler,
        on_poison=handler.answer_poison,
        observer=platform.telemetry.consumer("inference"),
    )
    handler.sit(seat)
    reports.sit(seat, lambda: made.positions().get(place, 0))
    return made
