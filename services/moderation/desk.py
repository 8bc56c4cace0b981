"""What clients may ask of moderation directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.moderation.matching.pack import Direction, Pack
from services.moderation.packs import Packs
from services.moderation.policy import PolicyPending, PolicyUnknown
from services.moderation.screening import Passage, Screening, screen
from shared.callers import Caller
from shared.configuration import Configuration
from shared.errors import FreeholdError, Kind
from shared.executor import Executor

MAX_BYTES = 1 << 20
"""Most text of one call: the edge's own body limit."""


class Classified(NamedTuple):
    """A verdict and the versions of the packs that gave it."""

    screening: Screening
    versions: list[str]


class Desk:
    """Answers for a caller; every refusal is a `FreeholdError`. A caller sees only its own policies."""

    def __init__(self, configuration: Configuration, packs: Packs, executor: Executor) -> None:
        self._configuration = configuration
        self._packs = packs
        self._executor = executor

    async def classify(
        self, caller: Caller, text: str, direction: Direction, named: Sequence[str]
    ) -> Classified:
        """What the named policies make of a text; none named: the caller's own."""
        if len(text.encode()) > MAX_BYTES:
            raise FreeholdError(Kind.TOO_LARGE, f"the text has more than {MAX_BYTES} bytes", param="text")
        own = self._own(caller)
        for name in named:
            if name not in own and not caller.operator:
                raise FreeholdError(Kind.NOT_FOUND, "there is no such policy", param="policies")
        try:
            policy = self._packs.find(named or own, beside=True)
        except PolicyUnknown as error:
            kind = Kind.NOT_FOUND if named else Kind.NOT_READY
            raise FreeholdError(kind, str(error), param="policies") from None
        except PolicyPending as error:
            raise FreeholdError(Kind.NOT_READY, f"policy {error} is being compiled") from None
        screening = await self._executor.run(screen, policy, direction, [Passage("text", text)])
        return Classified(screening, policy.versions)

    def policies(self, caller: Caller) -> list[Pack]:
        """The packs that judge the caller's texts; an operator sees all."""
        own = self._own(caller)
        return [pack for pack in self._packs.compiled() if caller.operator or pack.id in own]

    def _own(self, caller: Caller) -> list[str]:
        held = self._configuration.policies_of(caller.organisation, caller.project, caller.key)
        return [*self._packs.always, *held]
