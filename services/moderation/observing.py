"""What an operator sees of moderation: one span a request and direction, and bound metrics."""

from __future__ import annotations

from services.moderation.matching.pack import Action, Direction
from services.moderation.output.stream import Stream
from services.moderation.packs import Packs
from services.moderation.policy import Policy, Verdict
from services.moderation.scripts import SCRIPTS
from shared.bus.envelope import Envelope
from shared.clock import Clock
from shared.ids import unpack
from shared.telemetry import Telemetry, Turn
from shared.telemetry import semconv as names
from shared.telemetry.metrics import Counter


class Observer:
    """Records spans and metrics; also told how streams end."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("moderation")
        self._telemetry = telemetry
        self._recorder = telemetry.recorder("moderation")
        self._vetting: Turn | None = None
        self._clock = clock
        verdicts = metrics.counter("verdicts", "Texts judged, by verdict.", ("direction", "verdict"))
        self._verdicts = {
            (direction, action): verdicts.labels(direction.name.lower(), action.name.lower())
            for direction in Direction
            for action in Action
        }
        self._rules = metrics.counter(
            "rule_matches", "Texts in which a rule matched.", ("direction", "rule", "policy")
        )
        self._bound: dict[tuple[Direction, str, str], Counter] = {}
        text = "Requests judged, by the script of their longest text."
        scripts = metrics.counter("scripts", text, ("script", "verdict"))
        self._scripts = {
            (script, action): scripts.labels(script, action.name.lower())
            for script in SCRIPTS
            for action in Action
        }
        self._exposed = metrics.counter(
            "exposed_characters", "Characters that a reader saw before they matched: what must be 0."
        )
        self._broken = metrics.counter("broken_streams", "Streams that could not be vetted.")
        self._seconds = metrics.seconds("screen_seconds", "From a batch's arrival to its verdicts.")
        self._held_tokens = metrics.tokens("held_tokens", "Most tokens of a stream that were held back.")
        self._held_seconds = metrics.seconds("held_seconds", "Longest that text of a stream was held back.")

    def screening(self) -> Turn:
        """A batch of requests begins."""
        return self._telemetry.turn(self._recorder, "requests", "screen")

    def vetting(self) -> Turn:
        """A batch of frames begins: what ends before the next begins is the batch's."""
        self._vetting = self._telemetry.turn(self._recorder, "frames", "vet")
        return self._vetting

    def screened(self, turn: Turn, asked: Envelope, policy: Policy, verdict: Verdict, script: str) -> bytes:
        """Note a request's verdict and its text's script; the `traceparent` that the answer carries on."""
        self._seconds.observe(max(0, self._clock.time_ns() - turn.begun) / 1e9)
        self._count(Direction.INPUT, verdict)
        self._scripts[script, verdict.action].inc()
        attributes = (
            (names.FREEHOLD_VERDICT, verdict.action.name.lower()),
            (names.FREEHOLD_POLICY_VERSION, " ".join(policy.versions)),
        )
        return turn.note(asked.traceparent, attributes, asked.request)

    def ended(self, request: bytes, stream: Stream) -> None:
        """A stream ended or was refused."""
        verdict = stream.window.verdict
        self._count(Direction.OUTPUT, verdict)
        if stream.window.exposed:
            self._exposed.inc(stream.window.exposed)
        self._held_tokens.observe(stream.held_ids)
        self._held_seconds.observe(stream.held_s)
        self._record(request, stream, verdict.action.name.lower(), None)

    def broken(self, request: bytes, stream: Stream | None, reason: str) -> None:
        """A stream could not be vetted."""
        self._broken.inc()
        if stream is not None:
            self._record(request, stream, "broken", reason)

    def _record(self, request: bytes, stream: Stream, verdict: str, error: str | None) -> None:
        turn = self._vetting
        if turn is None:
            return
        attributes = (
            (names.FREEHOLD_ATTEMPT, stream.attempt),
            (names.FREEHOLD_VERDICT, verdict),
            (names.FREEHOLD_POLICY_VERSION, " ".join(stream.policy.versions)),
        )
        begun = self._clock.time_ns() - round((self._clock.monotonic() - stream.begun) * 1e9)
        turn.note(stream.traceparent, attributes, unpack(request), begun=begun, error=error)

    def _count(self, direction: Direction, verdict: Verdict) -> None:
        self._verdicts[direction, verdict.action].inc()
        for rule, version in verdict.hits:
            # Rules are few: a pack has at most 500, and only those that match are bound.
            key = (direction, rule, version.partition("@")[0])
            bound = self._bound.get(key)
            if bound is None:
                bound = self._bound[key] = self._rules.labels(direction.name.lower(), rule, key[2])
            bound.inc()


def tell(telemetry: Telemetry, packs: Packs) -> None:
    """Show the packs in force, and those that could not be used, at each scrape."""
    metrics = telemetry.metrics("moderation")
    metrics.read_each(
        "window_characters",
        "What the policy holds back at most: folded characters that a match may span.",
        ("policy",),
        lambda: {(pack.id,): float(pack.window) for pack in packs.compiled()},
    )
    metrics.read(
        "policy_faults", "Policies whose newest version cannot be used.", lambda: len(packs.faults())
    )
