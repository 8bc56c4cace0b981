"""Clients: each asks one edge for one answer, through the same seam as HTTP and gRPC do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from services.edge.answer import Answer, Outcome, Piece, Submission
from shared.contracts.freehold.edge.v1.request_pb2 import ROLE_USER, CompletionRequest, Message
from shared.contracts.freehold.platform.v1.outcome_pb2 import TERMINAL_STATE_COMPLETED
from shared.errors import FreeholdError
from tests.simulation import cast
from tests.simulation.assembly import Parts
from tests.simulation.plan import Ask
from tests.simulation.process import Process
from tests.simulation.world import World

BODY_S = 0.01
"""Longest time that the transport takes with a plain answer's body."""


@dataclass
class View:
    """What one client saw."""

    ask: Ask
    began: float = 0.0
    edge: Process | None = None
    request: str = ""
    tenant: str = ""
    project: str = ""
    refused: FreeholdError | None = None
    """It was not taken at all."""
    unreachable: bool = False
    pieces: list[Piece] = field(default_factory=list)
    outcome: Outcome | None = None
    ended: float | None = None
    left: bool = False
    lost: bool = False
    """Its edge died before the end."""
    outcomes: int = 0

    @property
    def owned(self) -> bool:
        """Whether its owner still lives: then it closes the request, whatever has happened."""
        return self.edge is not None and self.edge.alive

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended is not None or self.unreachable or self.refused is not None or self.lost

    def text(self, choice: int) -> str:
        """What it read of one choice."""
        return "".join(piece.text for piece in self.pieces if piece.choice == choice)

    def tokens(self, choice: int) -> int:
        """How many ids that was."""
        return sum(piece.tokens for piece in self.pieces if piece.choice == choice)


def request_of(ask: Ask) -> CompletionRequest:
    """As a dialect would have parsed it."""
    found = CompletionRequest(
        model=cast.manifest().name,
        messages=[Message(role=ROLE_USER, parts=[ask.text])],
        max_output=ask.most,
        choices=ask.choices,
    )
    found.sampling.seed = ask.seed
    return found


class Clients:
    """All of one history."""

    def __init__(self, world: World, asks: tuple[Ask, ...]) -> None:
        self._world = world
        self._loop = world.loop
        self.views = [View(ask) for ask in asks]

    def begin(self) -> None:
        """Let each ask at its time."""
        for view in self.views:
            self._loop.after(view.ask.at, self._ask, view)

    @property
    def owned(self) -> bool:
        """Whether its owner still lives: then it closes the request, whatever has happened."""
        return self.edge is not None and self.edge.alive

    @property
    def over(self) -> bool:
        """Whether every client has what it will get."""
        return all(view.over for view in self.views)

    def _ask(self, view: View) -> None:
        ask = view.ask
        view.began = self._loop.now
        parts = self._world.parts[f"edge-{ask.edge}"]
        process = parts.process
        if not (process.alive and parts.up):
            view.unreachable = True
            return
        view.edge = process
        process.on_death.append(lambda: self._cut_off(view))
        self._loop.spawn(process.lane, self._talk(view, parts), f"client {ask.number}")

    def _cut_off(self, view: View) -> None:
        if not view.over:
            view.lost = True

    async def _talk(self, view: View, parts: Parts) -> None:
        ask = view.ask
        try:
            principal = parts.identify(self._world.secrets[ask.key])  # type: ignore[misc]
            view.tenant, view.project = principal.organisation, principal.project
            answer: Answer = parts.service.submit(
                Submission(
                    request=request_of(ask),
                    principal=replace(principal, deadline_s=ask.deadline_s),
                    fingerprint=cast.fingerprint(f"{ask.text} {ask.most}"),
                    body_bytes=200,
                    streamed=ask.streamed,
                    idempotency_key=ask.idempotency,
                )
            )
        except FreeholdError as error:
            view.refused = error
            return
        view.request = answer.request
        if ask.leaves_after is not None:
            self._loop.call_later(ask.leaves_after, self._leave, view, answer)
        await self._read(view, answer)

    async def _read(self, view: View, answer: Answer) -> None:
        while not view.over:
            await answer.ready()
            if view.ask.reads_every:
                await asyncio.sleep(view.ask.reads_every)
            if view.over:
                return
            view.pieces += answer.take()
            if answer.outcome is None:
                continue
            if not view.ask.streamed and answer.outcome.state == TERMINAL_STATE_COMPLETED:
                await asyncio.sleep(self._world.weather.random() * BODY_S)
                if view.over:
                    return
                answer.on_sent()
            self._end(view, answer.outcome)

    def _leave(self, view: View, answer: Answer) -> None:
        if view.over:
            return
        view.left = True
        view.pieces += answer.take() if view.ask.streamed else []
        answer.leave("client_gone")
        self._end(view, answer.outcome)

    def _end(self, view: View, outcome: Outcome | None) -> None:
        view.outcome = outcome
        view.ended = self._loop.now
        view.outcomes += 1
