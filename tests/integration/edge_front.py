"""An edge on real ports whose owner does what a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from services.edge.answer import Answer, Outcome, Piece, Submission
from services.edge.app import EdgeService, build
from services.edge.settings import EdgeSettings
from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.callers import Credentials
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, hash_key
from shared.contracts.freehold.audit.v1 import audit_pb2 as audit
from shared.contracts.freehold.billing.v1 import billing_pb2 as billing
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError, Kind
from shared.host import system_host
from shared.ids import Ids
from shared.lifecycle import READY, Readiness
from shared.platform import Platform
from shared.pulses import Pulses
from shared.telemetry import Telemetry, TelemetrySettings

KEY = "fh-test-key"
OTHER_KEY = "fh-other-project"
OPERATOR_KEY = "fh-operator"
PEPPER = b"pepper"
MODEL = "smollm2-135m-instruct"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
HOST = system_host()

Play = Callable[[Answer, Submission], None]

DONE = Outcome(
    state=outcome.TERMINAL_STATE_COMPLETED,
    finish=outcome.FINISH_REASON_STOP,
    prompt=12,
    cached=4,
    generated=3,
    delivered=3,
    billed=3,
    price=1_234_567_890,
    currency="EUR",
    price_version="7",
    weights_digest="ab" * 32,
    tokenizer_digest="cd" * 32,
    template_digest="ef" * 32,
    policy_versions=("base@1+aaaaaaaaaaaa",),
    verdict=outcome.VERDICT_ALLOW,
)


def ended(error: FreeholdError, state: outcome.TerminalState = outcome.TERMINAL_STATE_FAILED) -> Outcome:
    """The outcome of a request that has no answer, or half of one."""
    return Outcome(state=state, finish=outcome.FINISH_REASON_FAILED, error=error)


def say(*texts: str, end: Outcome | None = DONE) -> Play:
    """Answer at once with these pieces, one id each."""

    def play(answer: Answer, _: Submission) -> None:
        for text in texts:
            answer.put(Piece(0, text, 1))
        if end is not None:
            answer.finish(end)

    return play


@dataclass
class ScriptedOwner:
    """An owner without a platform behind it."""

    play: Play = field(default_factory=lambda: say("Hel", "lo", " world"))
    submissions: list[Submission] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    sent: int = 0
    keep: bool = True
    """Whether submissions and answers are kept for the test to look at."""
    ids: Ids = field(default_factory=lambda: Ids(HOST.clock, HOST.random))
    state: Readiness = READY
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Nothing runs."""

    async def stop(self, deadline: float) -> None:
        """Nothing runs."""

    def readiness(self) -> Readiness:
        """As set."""
        return self.state

    def submit(self, submission: Submission) -> Answer:
        """Play the script."""
        answer = Answer(self.ids.request(), self._leave, self._sent)
        self.play(answer, submission)
        if self.keep:
            self.submissions.append(submission)
            self.answers.append(answer)
        self.begun.set()
        return answer

    def _leave(self, reason: str) -> None:
        self.left.append(reason)
        self.gone.set()

    def _sent(self) -> None:
        self.sent += 1


@dataclass
class Sources:
    """Billing and audit as the test fills them."""

    rows: list[billing.UsageRow] = field(default_factory=list)
    receipts: dict[tuple[str, str], audit.GetReceiptResponse] = field(default_factory=dict)
    """By (secret, request)."""
    asked: list[tuple[str, billing.GetUsageRequest]] = field(default_factory=list)

    async def usage(self, secret: str, query: billing.GetUsageRequest) -> billing.GetUsageResponse:
        """All rows."""
        self.asked.append((secret, query))
        return billing.GetUsageResponse(rows=self.rows)

    async def receipt(self, secret: str, request: str) -> audit.GetReceiptResponse:
        """What is known to this credential."""
        found = self.receipts.get((secret, request))
        if found is None:
            raise FreeholdError(Kind.NOT_FOUND, "there is no such request")
        return found


def configured() -> Configuration:
    """Two projects of two organisations, a model and its price."""
    values = Configuration()
    for name in ("one", "two"):
        values.organisations[name] = config.Organisation(id=name, currency="EUR", time_zone="UTC")
        values.projects[f"{name}-project"] = config.Project(id=f"{name}-project", organisation=name)
    values.models[MODEL] = config.Model(
        name=MODEL,
        weights_digest="ab" * 32,
        tokenizer_digest="cd" * 32,
        template_digest="ef" * 32,
        context=2048,
        licence="Apache-2.0",
        created_s=1_700_000_000,
    )
    values.prices[f"{MODEL}.EUR"] = config.Price(model=MODEL, currency="EUR", version="7", prompt=1, output=2)
    add_key(values, KEY, "one", ["complete", "usage"])
    add_key(values, OTHER_KEY, "two", ["complete", "usage"])
    add_key(values, OPERATOR_KEY, "one", ["operator"])
    return values


def add_key(
    values: Configuration, secret: str, organisation: str, roles: list[str], **fields: Any
) -> config.Key:
    """A key of the organisation's project."""
    key = config.Key(
        id=f"key-{secret}",
        organisation=organisation,
        project=f"{organisation}-project",
        hash=hash_key(secret, PEPPER),
        pepper_version=1,
        roles=roles,
        **fields,
    )
    values.keys[key.id] = key
    values.keys_by_hash[key.hash] = key
    return key


@dataclass
class Edge:
    """What a test has in its hands."""

    service: EdgeService
    owner: ScriptedOwner
    sources: Sources
    configuration: Configuration
    telemetry: Telemetry

    @property
    def url(self) -> str:
        """Base of the OpenAI client."""
        return f"http://127.0.0.1:{self.service.http_port}/v1"


@contextlib.asynccontextmanager
async def running_edge(**settings: Any) -> AsyncIterator[Edge]:
    """An edge on free ports."""
    configuration = configured()
    telemetry = Telemetry(HOST, TelemetrySettings(otlp_endpoint=""))
    bus = LocalBus(HOST, load_topics("embedded"), None)
    platform = Platform(
        HOST, bus, telemetry, configuration, ConfigReader(bus, HOST, configuration), Pulses(bus, HOST)
    )
    owner, sources = ScriptedOwner(), Sources()
    authenticate = Credentials(configuration, {1: PEPPER}, HOST.clock)
    chosen = EdgeSettings(**{"http_port": 0, "grpc_port": 0, "sweep_s": 0.05, **settings})
    service = build(chosen, platform, owner, authenticate, sources, sources)
    await service.start()
    try:
        yield Edge(service, owner, sources, configuration, telemetry)
    finally:
        await service.stop(HOST.clock.monotonic() + 2.0)
