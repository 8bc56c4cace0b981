"""One request in flight, as its owner holds it: the machine and all that is beside it."""

from __future__ import annotations

import hashlib

from services.edge.answer import Answer, Submission
from services.edge.owner.admission import Asking
from services.edge.owner.ready_queue import Ask
from services.edge.owner.seats import Need
from services.edge.states.machine import Machine
from shared.bus.ports import Headers
from shared.contracts.freehold.control.v1.config_pb2 import Model
from shared.ids import pack
from shared.telemetry.trace import TraceContext

NOT_ASKED = Ask("", 0)
NOT_COUNTED = Asking("", "", 0, 0, 0, 0.0)
HASHED_AT_ONCE = 64
"""Pieces that are gathered before they are hashed."""


class Entry:
    """Written by the owner only."""

    __slots__ = (
        "_hasher",
        "_texts",
        "accepted_at",
        "accepted_ns",
        "answer",
        "ask",
        "asking",
        "config_offset",
        "expected",
        "first_at",
        "first_ns",
        "headers",
        "lane",
        "last_at",
        "machine",
        "model",
        "need",
        "octets",
        "parent",
        "policies",
        "published_s",
        "ready_at",
        "request",
        "salt",
        "seated_at",
        "seed",
        "span",
        "submission",
        "tenant",
        "worker",
    )

    def __init__(
        self, request: str, submission: Submission, machine: Machine, model: Model, answer: Answer, lane: int
    ) -> None:
        self.request = request
        self.octets = pack(request)
        self.submission = submission
        self.tenant = submission.principal.organisation.encode()
        self.machine = machine
        self.model = model
        self.answer = answer
        self.lane = lane
        self.asking = NOT_COUNTED
        """As it was counted in."""
        self.ask = NOT_ASKED
        """What the queue knows of it."""
        self.expected = False
        """Whether the queue counts it before it is ready."""
        self.policies: list[str] = []
        self.config_offset = 0
        """Version of the configuration that the request was accepted under."""
        self.headers: Headers = ()
        """What all its records share; filled at the first."""
        self.seed = 0
        self.salt = b""
        """Of the worker's prefix cache: the same for one project only."""
        self.span: TraceContext | None = None
        self.parent: TraceContext | None = None
        self.accepted_ns = 0
        self.published_s = 0.0
        """Seconds that its own records waited for their acknowledgement, one after another."""
        self.accepted_at = 0.0
        self.ready_at = 0.0
        """When it began to wait for a worker; 0 = it does not wait."""
        self.first_ns = 0
        self.first_at = 0.0
        self.last_at = 0.0
        self.need: Need | None = None
        """What it needs of a worker; None before it is ready."""
        self.seated_at = 0.0
        """When it last got a worker; 0 = never."""
        self.worker = 0
        """Incarnation whose slot it holds; 0 = none's."""
        self._texts: list[list[str]] = [[] for _ in machine.choices]
        self._hasher = hashlib.sha256()

    def keep(self, choice: int, text: str) -> None:
        """A piece was delivered."""
        texts = self._texts[choice]
        texts.append(text)
        if choice == 0 and len(texts) >= HASHED_AT_ONCE:
            self._hasher.update("".join(texts).encode())
            texts.clear()

    def answer_hash(self) -> bytes:
        """SHA-256 of what was delivered: choices in order, each ended by one zero byte. Call once, and
        nothing after it: the first choice's text is hashed as it comes, the others' here.
        """
        for texts in self._texts:
            self._hasher.update("".join(texts).encode() + b"\0")
        return self._hasher.digest()


class InFlight:
    """All requests that have not ended, by both forms of their id."""

    __slots__ = ("by_octets", "by_request")

    def __init__(self) -> None:
        self.by_request: dict[str, Entry] = {}
        self.by_octets: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self.by_request)

    def add(self, entry: Entry) -> None:
        """A request was accepted."""
        self.by_request[entry.request] = entry
        self.by_octets[entry.octets] = entry

    def remove(self, entry: Entry) -> None:
        """It was closed."""
        del self.by_request[entry.request]
        del self.by_octets[entry.octets]

    def all(self) -> list[Entry]:
        """A list that stays as it is while requests end."""
        return list(self.by_request.values())
