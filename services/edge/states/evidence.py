"""What a request's steps have said of it: for its close, its outcome and its span."""

from __future__ import annotations

from collections.abc import Iterable

from services.edge.states.chain import Ending
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamRefused, StreamVerdict
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError


class Evidence:
    """Grows with the request's events; read at its end."""

    __slots__ = (
        "cached",
        "code",
        "error",
        "finish",
        "held_ms",
        "held_tokens",
        "input_verdict",
        "matches",
        "output_verdict",
        "policy_versions",
        "prompt",
    )

    def __init__(self) -> None:
        self.input_verdict: outcome.Verdict = outcome.VERDICT_UNSPECIFIED
        self.output_verdict: outcome.Verdict = outcome.VERDICT_UNSPECIFIED
        self.matches: list[outcome.RuleMatch] = []
        self.policy_versions: list[str] = []
        """Each once, in the order in which they were named."""
        self.prompt = 0
        """Prompt tokens that the last attempt's worker counted; of these, `cached` came from its cache."""
        self.cached = 0
        self.finish: outcome.FinishReason = outcome.FINISH_REASON_UNSPECIFIED
        """Of the first choice."""
        self.held_tokens = 0
        self.held_ms = 0
        self.error: FreeholdError | None = None
        self.code = ""

    @property
    def verdict(self) -> outcome.Verdict:
        """The stricter of input's and output's."""
        return max(self.input_verdict, self.output_verdict)

    def judged(
        self, verdict: outcome.Verdict, matches: Iterable[outcome.RuleMatch], versions: Iterable[str]
    ) -> None:
        """The input passed with this verdict."""
        self.input_verdict = max(self.input_verdict, verdict)
        self._matched(matches, versions)

    def refused(self, refusal: outcome.RequestRefused) -> None:
        """A service refused the input."""
        verdict = outcome.VERDICT_UNSPECIFIED
        if refusal.by == outcome.REFUSER_POLICY:
            verdict = outcome.VERDICT_REFUSE
        self.judged(verdict, refusal.matches, refusal.policy_versions)

    def judged_output(self, verdict: StreamVerdict) -> None:
        """One choice has this verdict, so far or as a whole."""
        self.output_verdict = max(self.output_verdict, verdict.verdict)
        self.held_tokens = max(self.held_tokens, verdict.held_tokens)
        self.held_ms = max(self.held_ms, verdict.held_ms)
        self._matched(verdict.matches, verdict.policy_versions)

    def refused_output(self, refusal: StreamRefused) -> None:
        """The output was ended by a rule."""
        self.output_verdict = outcome.VERDICT_REFUSE
        self._matched([refusal.match], refusal.policy_versions)

    def choice_ended(self, number: int, ending: Ending) -> None:
        """A choice came to its vetted end."""
        self.prompt = ending.prompt
        self.cached = ending.cached
        if number == 0:
            self.finish = ending.reason

    def closed(self, error: FreeholdError | None, code: str) -> None:
        """The request has its terminal state; `code` where it is more exact than what a client is told."""
        self.error = error
        if error is not None:
            self.code = code or error.code

    def _matched(self, matches: Iterable[outcome.RuleMatch], versions: Iterable[str]) -> None:
        self.matches += [match for match in matches if match not in self.matches]
        self.policy_versions += [version for version in versions if version not in self.policy_versions]
