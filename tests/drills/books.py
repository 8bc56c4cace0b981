"""The join of four sets after a drill (what clients saw, billing's rows, its ledger, the audit log), and the
accounting identity over it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from services.billing.books.reserving import idempotency
from tests.drills.edges import Try
from tests.drills.load import Asked, Tenant, spoiled
from tests.drills.world import World

BEYOND_DELIVERY = {"cancelled", "expired"}
"""States that are billed what exists, not what was delivered."""


class Requests(Protocol):
    """What was asked, and over which tries."""

    tenant: Tenant
    asked: list[Asked]

    @property
    def tries(self) -> list[Try]:
        """Of all requests."""


class Entry(NamedTuple):
    """One settlement in the ledger."""

    generated: int
    delivered: int
    billed: int
    total: int
    sum: int
    """Of its lines: debits less credits."""


@dataclass(slots=True)
class Case:
    """One request as the platform's three sets have it."""

    request: str
    settled: bool
    entries: list[Entry] = field(default_factory=list)
    leaves: list[dict[str, Any]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Nothing more is to come."""
        return self.settled and bool(self.entries) and bool(self.leaves)

    @property
    def state(self) -> str:
        return str(self.leaves[0]["state"]) if self.leaves else ""

    @property
    def attempts(self) -> int:
        """How often it was sent to a worker."""
        return len(self.leaves[0]["attempts"]) if self.leaves else 0


@dataclass
class Account:
    """What became of a drill's requests. Counts are of tries: what is sent again is another request."""

    sent: int = 0
    completed: int = 0
    error: int = 0
    cancelled: int = 0
    cut: int = 0
    """Of `error`: the connection ended without a word."""
    accepted: int = 0
    logged: int = 0
    beyond: int = 0
    """Billed beyond what was delivered, as cancelled and expired requests are."""
    again: int = 0
    """Sent to a worker more than once."""
    resumed: int = 0
    """Of those: went on behind what their client had."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """Rule that is broken -> by which requests."""

    def fault(self, rule: str, request: str) -> None:
        """A request breaks a rule."""
        self.faults.setdefault(rule, []).append(request)

    @property
    def holds(self) -> bool:
        """The identity."""
        return not self.faults

    def __str__(self) -> str:
        cut = f" (cut {self.cut})" if self.cut else ""
        parts = [
            f"sent {self.sent} = {self.completed} completed + {self.error} error{cut}"
            f" + {self.cancelled} cancelled",
            f"logged {self.logged} of {self.accepted} accepted",
        ]
        if self.beyond:
            parts.append(f"{self.beyond} left by their client and billed what existed")
        if self.again:
            parts.append(f"{self.again} sent on to another worker, {self.resumed} of them in mid-answer")
        parts += [f"**{rule}: {len(found)}** ({', '.join(found[:3])})" for rule, found in self.faults.items()]
        return "; ".join(parts)


class Books:
    """What the platform has of the requests of some loads."""

    def __init__(self, world: World, loads: Sequence[Requests]) -> None:
        self._world, self._loads = world, loads
        self._by_name: dict[str, Case] = {}
        self._by_request: dict[str, Case] = {}

    def complete(self) -> bool:
        """Read them. True = nothing more is to come of what was accepted."""
        tries = [(load, one) for load in self._loads for one in load.tries]
        self._read([self._name(*pair) for pair in tries], [one.request for _, one in tries if one.request])
        missing = any(one.status == 200 and self._of(load, one) is None for load, one in tries)
        return not missing and all(case.whole for case in self._by_request.values())

    def cases(self, load: Requests) -> Iterator[tuple[Asked, Case]]:
        """Each request's last try that the platform accepted, and what the platform has of it."""
        for asked in load.asked:
            found = [case for one in asked.tries if (case := self._of(load, one)) is not None]
            if found:
                yield asked, found[-1]

    def open(self) -> list[str]:
        """Requests of which more is to come."""
        return [case.request for case in self._by_request.values() if not case.whole]

    def account(self) -> Account:
        """The identity over what was read last."""
        account = Account()
        for load in self._loads:
            for asked in load.asked:
                self._one(account, load, asked)
            for key in spoiled(load.asked, self._world.texts):
                account.fault("token lost or repeated", key)
        account.accepted = len(self._by_request)
        for case in self._by_request.values():
            self._case(account, case)
        return account

    def _one(self, account: Account, load: Requests, asked: Asked) -> None:
        if asked.outcome == "hanging":
            account.fault("lost: no end", asked.key)
        paid = 0
        for one in asked.tries:
            last = one is asked.tries[-1]
            account.sent += 1
            account.completed += last and asked.outcome == "completed"
            account.cancelled += last and asked.outcome == "cancelled"
            account.error += not (last and asked.outcome in ("completed", "cancelled"))
            ended = last and asked.outcome in ("completed", "cancelled", "error")
            account.cut += not ended and (not one.status or last)
            case = self._of(load, one)
            if case is None:
                if one.status == 200:
                    account.fault("lost: no row", one.request or one.key)
                continue
            if last and asked.outcome == "completed":
                self._completed(account, asked, case)
            paid += any(entry.total for entry in case.entries)
        if paid > 1:
            account.fault("billed twice", asked.key)

    def _completed(self, account: Account, asked: Asked, case: Case) -> None:
        if asked.counted != asked.tokens:
            account.fault("answer is short", asked.key)
        if case.whole and (case.state != "completed" or case.entries[0].billed != asked.counted):
            account.fault("billed other than answered", case.request)

    def _case(self, account: Account, case: Case) -> None:
        if not case.settled or not case.entries:
            account.fault("lost: not settled", case.request)
            return
        if len(case.entries) > 1:
            account.fault("billed twice", case.request)
        (entry, *_) = case.entries
        # Whoever leaves once a worker has taken his request is billed its prompt, and what there is.
        nothing = entry.total and not entry.generated and case.state not in BEYOND_DELIVERY
        if nothing or entry.billed > entry.generated:
            account.fault("billed without generation", case.request)
        if entry.sum:
            account.fault("debits differ from credits", case.request)
        if len(case.leaves) != 1:
            account.fault("not once in the log", case.request)
            return
        account.logged += 1
        leaf = case.leaves[0]
        account.again += case.attempts > 1
        account.resumed += leaf["resumed"] > 0
        if entry.total != leaf["money"]["total"] or entry.billed != leaf["tokens"]["billed"]:
            account.fault("log and ledger differ", case.request)
        if entry.billed > entry.delivered:
            account.beyond += 1
            if case.state not in BEYOND_DELIVERY:
                account.fault("billed beyond delivery", case.request)
        if entry.total and case.state == "failed":
            account.fault("a failed request is billed", case.request)

    def _of(self, load: Requests, one: Try) -> Case | None:
        return self._by_request.get(one.request) or self._by_name.get(self._name(load, one))

    @staticmethod
    def _name(load: Requests, one: Try) -> str:
        return idempotency(load.tenant.organisation, load.tenant.project, one.key) or ""

    def _read(self, names: Sequence[str], requests: Sequence[str]) -> None:
        world = self._world
        self._by_name, self._by_request = {}, {}
        for row in world.rows(_REQUESTS, list(names), list(requests)):
            case = self._by_request[row["request"]] = Case(row["request"], row["state"] == "settled")
            if row["idempotency"]:
                self._by_name[row["idempotency"]] = case
        found = list(self._by_request)
        for row in world.rows(_ENTRIES, found):
            self._by_request[row[0]].entries.append(Entry(*map(int, tuple(row)[1:])))
        for row in world.rows(_LEAVES, found):
            self._by_request[row[0]].leaves.append(json.loads(row[1]))


_REQUESTS = (
    "SELECT request, idempotency, state FROM billing.requests"
    " WHERE idempotency = ANY($1) OR request = ANY($2)"
)
_ENTRIES = (
    "SELECT e.request, e.generated, e.delivered, e.billed, e.total, COALESCE((SELECT SUM(amount) FROM"
    " billing.lines l WHERE l.entry = e.id), 0) FROM billing.entries e"
    " WHERE e.kind = 'settlement' AND e.request = ANY($1)"
)
_LEAVES = "SELECT request, entry FROM audit.leaves WHERE request = ANY($1)"


def outcomes(loads: Sequence[Requests]) -> Counter[str]:
    """Requests of all loads by how they ended for their client."""
    return Counter(asked.outcome for load in loads for asked in load.asked)


def told(loads: Sequence[Requests]) -> Iterator[str]:
    """How often each error was told."""
    counts = Counter(asked.told for load in loads for asked in load.asked if asked.told)
    yield from (f"{number} × {code}" for code, number in counts.most_common())
