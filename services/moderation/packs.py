"""The packs in force: those of the configuration, compiled beside the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from services.moderation.matching.matcher import Matcher, compile_pack
from services.moderation.matching.pack import Pack, PackError, load_pack
from services.moderation.policy import Policy, PolicyPending, PolicyUnknown
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.executor import Executor
from shared.lifecycle import READY, Readiness

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Compiled:
    source: str
    """The text that it was compiled from, or that failed."""
    matcher: Matcher | None
    """The last good one; None where there never was one."""
    beside: Matcher | None
    """The same for the other thread."""
    fault: str = ""


class Packs:
    """Keeps a compiled pack for each policy of the configuration.

    Where a new version cannot be used, the last good one stays and an alarm is logged.
    """

    def __init__(self, configuration: Configuration, executor: Executor, always: Iterable[str]) -> None:
        self._configuration = configuration
        self._executor = executor
        self.always = tuple(always)
        """Ids that judge every text."""
        self._packs: dict[str, _Compiled] = {}
        self._policies: dict[tuple[bool, tuple[str, ...]], Policy] = {}
        self._changed = asyncio.Event()
        self._compiled = asyncio.Event()
        self._named: tuple[int, frozenset[str]] = (-1, frozenset())
        configuration.listeners.append(self._on_change)

    async def run(self) -> None:
        """Compile what is published, for ever."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            for policy in list(self._configuration.policies.values()):
                if self._stale(policy):
                    await self._compile(policy)
            if not self._changed.is_set():
                self._compiled.set()

    async def wait_compiled(self) -> None:
        """Return once nothing that is published waits to be compiled."""
        await self._compiled.wait()

    def find(self, named: Iterable[str], *, beside: bool = False) -> Policy:
        """The combined policy of these ids and those that always hold; `beside`: for the thread.

        Raises `PolicyPending`, `PolicyUnknown`.
        """
        ids = tuple(dict.fromkeys((*self.always, *named)))
        found = self._policies.get((beside, ids))
        if found is None:
            matchers = [self._matcher(policy, beside) for policy in ids]
            found = self._policies[beside, ids] = Policy(matchers)
        return found

    def compiled(self) -> list[Pack]:
        """The packs in force, by id."""
        return [
            found.matcher.pack
            for name, found in sorted(self._packs.items())
            if found.matcher is not None and name in self._configuration.policies
        ]

    def faults(self) -> list[str]:
        """Policies whose newest version cannot be used; the last good one, if any, stays in force."""
        return [
            name
            for name, found in sorted(self._packs.items())
            if found.fault and name in self._configuration.policies
        ]

    def readiness(self) -> Readiness:
        """Ready when every policy that anybody names has compiled."""
        for name in sorted(self._everybodys()):
            try:
                self.find((name,))
            except PolicyPending:
                return Readiness(False, f"policy {name} is being compiled")
            except PolicyUnknown as error:
                return Readiness(False, str(error))
        return READY

    def _matcher(self, name: str, beside: bool) -> Matcher:
        policy = self._configuration.policies.get(name)
        if policy is None:
            raise PolicyUnknown(f"policy {name} is not published")
        if self._stale(policy):
            raise PolicyPending(name)
        found = self._packs[name]
        matcher = found.beside if beside else found.matcher
        if matcher is None:
            raise PolicyUnknown(f"policy {name} cannot be used: {found.fault}")
        return matcher

    def _everybodys(self) -> frozenset[str]:
        values = self._configuration
        if self._named[0] != values.offset:
            holders = (values.organisations, values.projects, values.keys)
            named = {policy for holder in holders for value in holder.values() for policy in value.policies}
            self._named = (values.offset, frozenset(named.union(self.always)))
        return self._named[1]

    def _stale(self, policy: pb.Policy) -> bool:
        found = self._packs.get(policy.id)
        return found is None or found.source != policy.pack

    async def _compile(self, policy: pb.Policy) -> None:
        good = self._packs.get(policy.id)
        try:
            matcher = await self._executor.run(_compile, policy.id, policy.version, policy.pack)
        except PackError as error:
            log.error("policy %s is not used, the last good version stays: %s", policy.id, error)
            matchers = (good.matcher, good.beside) if good else (None, None)
            self._packs[policy.id] = _Compiled(policy.pack, *matchers, fault=str(error))
        else:
            log.info("policy %s compiled", matcher.pack.version)
            self._packs[policy.id] = _Compiled(policy.pack, matcher, matcher.fork())
        self._policies.clear()

    def _on_change(self, kind: str, _name: str) -> None:
        if kind == "policy":
            self._policies.clear()
            self._compiled.clear()
            self._changed.set()


def _compile(name: str, version: str, text: str) -> Matcher:
    pack = load_pack(text)
    if pack.id != name or pack.version != version:
        raise PackError(f"published as {name} {version}, but the text is {pack.version}")
    return compile_pack(pack)
