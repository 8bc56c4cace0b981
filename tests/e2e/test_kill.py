"""`kill -9` at random moments under load: whatever was half done ends well at the next start."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from services.audit.tlog.checkpoint import Checkpoint, open_sole_checkpoint
from services.audit.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from services.audit.tlog.note import parse_verifier
from services.control.seed import ORGANISATION
from shared.contracts.freehold.audit.v1 import audit_pb2
from shared.contracts.freehold.audit.v1.audit_pb2_grpc import AuditStub
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from tests.e2e.conftest import Start
from tests.e2e.load import Load
from tests.e2e.running import Running, until

pytestmark = pytest.mark.timeout(420)

KILLS = 20
DURING_THE_START = 8
PACE = {"FREEHOLD_INFERENCE_TOKENS_PER_SECOND": "200"}
KEPT = ("secrets/token", "secrets/pepper-1", "audit/log.key", "audit/log.pub")


class Operator:
    """Questions at the operator's socket."""

    def __init__(self, running: Running) -> None:
        self._channel = grpc.insecure_channel(running.socket)
        self._metadata = (("authorization", f"Bearer {running.token}"),)
        self._verifier = parse_verifier((running.home / "audit" / "log.pub").read_text().strip())
        self._billing, self._audit = BillingStub(self._channel), AuditStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def _ask(self, call: Any, request: Any) -> Any:
        return call(request, metadata=self._metadata, timeout=20.0)

    def faults_of_the_ledger(self) -> list[str]:
        found = self._ask(self._billing.VerifyLedger, billing_pb2.VerifyLedgerRequest())
        assert len(found.checks) >= 5
        return [f"{check.name}: {list(check.violations)}" for check in found.checks if not check.passed]

    def reserved(self) -> int:
        asked = billing_pb2.GetBalanceRequest(organisation=ORGANISATION)
        (balance,) = self._ask(self._billing.GetBalance, asked).balances
        return int(balance.reserved)

    def entries(self, request: str) -> list[billing_pb2.LedgerEntry]:
        asked = billing_pb2.ListEntriesRequest(request=request)
        return list(self._ask(self._billing.ListEntries, asked).entries)

    def checkpoint(self) -> Checkpoint:
        found = self._ask(self._audit.GetCheckpoint, audit_pb2.GetCheckpointRequest())
        return open_sole_checkpoint(found.checkpoint, self._verifier)

    def grown_from(self, old: Checkpoint) -> Checkpoint:
        """The newest checkpoint, proven to hold all that the old one held."""
        new = self.checkpoint()
        asked = audit_pb2.GetProofRequest(old_size=old.size, size=new.size)
        verify_consistency(
            old.size, new.size, old.root, new.root, self._ask(self._audit.GetProof, asked).proof
        )
        return new

    def receipt(self, request: str) -> audit_pb2.GetReceiptResponse:
        return self._ask(self._audit.GetReceipt, audit_pb2.GetReceiptRequest(request=request))

    def check(self, receipt: audit_pb2.GetReceiptResponse) -> None:
        """Raises `ProofInvalid` where the receipt's own checkpoint does not hold its entry."""
        then = open_sole_checkpoint(receipt.checkpoint, self._verifier)
        leaf = leaf_hash(receipt.entry)
        verify_inclusion(leaf, receipt.leaf_index, then.size, list(receipt.proof), then.root)


class Witness:
    """Remembers what was so before a kill, and looks whether it still is."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes | str] = {}
        self._seen: Checkpoint | None = None
        self._receipt: audit_pb2.GetReceiptResponse | None = None
        self.slowest = 0.0
        """Longest time, in seconds, that a start needed to end what an earlier life left open."""

    def look(self, running: Running, operator: Operator) -> None:
        """Raises `AssertionError` where something was lost."""
        kept = {name: (running.home / name).read_bytes() for name in KEPT}
        kept |= {"client": running.key, "administrator": running.admin_key}
        assert kept == (self._kept or kept)
        self._kept = kept
        waited = until(lambda: operator.reserved() == 0, "open reservations to end", 10.0)
        self.slowest = max(self.slowest, waited)
        assert operator.faults_of_the_ledger() == []
        self._seen = operator.grown_from(self._seen) if self._seen else operator.checkpoint()
        if self._receipt:
            operator.check(self._receipt)

    def keep_receipt(self, operator: Operator, request: str) -> None:
        """Of one early request: its proof is to stay valid."""
        if self._receipt is None:
            until(lambda: not operator.receipt(request).pending, "a receipt")
            self._receipt = operator.receipt(request)


def is_lost(operator: Operator, request: str, answered: int | None) -> bool:
    """Whether its owner was lost. There is one settlement and one entry in the log either way; an answer
    that was whole is billed whole, or, where its close was lost with the process, not at all.
    """
    until(lambda: len(operator.entries(request)) == 1, f"the settlement of {request}")
    (entry,) = operator.entries(request)
    assert answered is None or entry.billed in {0, answered}
    until(lambda: not operator.receipt(request).pending, f"the receipt of {request}")
    receipt = operator.receipt(request)
    operator.check(receipt)
    logged = json.loads(receipt.entry)
    if logged["owner_lost"]:
        assert (logged["state"], entry.billed) == ("failed", 0)
    return bool(logged["owner_lost"])


def test_twenty_kills_lose_no_money_no_key_and_no_entry(start: Start, tmp_path: Path) -> None:
    chance = random.Random(20)
    while_starting = set(chance.sample(range(1, KILLS), DURING_THE_START))
    witness = Witness()
    begun: set[str] = set()
    answered: dict[str, int] = {}
    for number in range(KILLS):
        running = start(home=tmp_path / "home", wait=number not in while_starting, **PACE)
        if number in while_starting:
            time.sleep(chance.uniform(0.2, 5.0))
            running.kill()
            continue
        with Operator(running) as operator:
            witness.look(running, operator)
            if begun:
                witness.keep_receipt(operator, min(begun))
        with Load(running.base_url, running.key, number) as load:
            time.sleep(chance.uniform(0.1, 2.0))
            running.kill()
        begun |= load.begun
        answered |= load.answered
    running = start(home=tmp_path / "home")
    with Operator(running) as operator:
        witness.look(running, operator)
        lost = sum(is_lost(operator, request, answered.get(request)) for request in begun)
        assert operator.faults_of_the_ledger() == []
    assert running.stop() == 0
    assert "Traceback" not in running.output
    assert lost > 0
    assert len(answered) > KILLS
    print(f"{KILLS} kills, {len(begun)} requests, {lost} of them without owner; ", end="")
    print(f"what was open had ended {witness.slowest:.2f} s after a start")
