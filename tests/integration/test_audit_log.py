"""Facts become leaves, files, proofs and signed checkpoints, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.audit import tables
from services.audit.facts import CONTROL, Fact
from services.audit.repository import old_gaps
from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import open_checkpoint
from services.audit.tlog.merkle import leaf_hash
from shared.host import system_host
from shared.storage.migrations import drift
from tests.integration.audit_log_world import SIGNER, check_folder, facts, life
from tests.integration.stores import open_store


async def test_facts_become_leaves_files_and_a_signed_checkpoint(home: Path) -> None:
    given = facts(1, 600)
    async with life(home) as log:
        assert await log.checkpoint() == ""
        assert not (home / "log" / "checkpoint").exists()
        for start in range(0, 600, 37):
            assert await log.append(given[start : start + 37]) == len(given[start : start + 37])
            await log.publish()
        assert await log.publish() == await log.checkpoint()
    check_folder(home, [fact.entry for fact in given])
    full = home / "log" / "tile" / "0"
    assert not (full / "000.p").exists(), "partial forms go once the full tile is there"
    assert (full / "002.p" / "88").exists()
    assert (full / "002.p" / "80").exists(), "a size that was signed keeps its partial tiles until then"


async def test_the_same_fact_twice_has_one_leaf(home: Path) -> None:
    given = facts(1, 5)
    async with life(home) as log:
        assert await log.append(given[:3]) == 3
        assert await log.append(given) == 2
        assert await log.append([given[0], given[0], *facts(6, 1), *facts(6, 1)]) == 1
        assert await log.append(given) == 0
        await log.publish()
    async with life(home) as log:
        assert await log.append(given) == 0
        await log.publish()
    check_folder(home, [fact.entry for fact in facts(1, 6)])


async def test_evidence_once_a_checkpoint_holds_the_entry(home: Path) -> None:
    async with life(home) as log:
        await log.append(facts(1, 300))
        await log.publish()
        await log.append(facts(301, 1))
        found = await log.find("org-301")
        assert found is not None
        assert found.evidence is None
        assert await log.find("nobody") is None
        assert await log.find("") is None
        note = await log.publish()
        found = await log.find("org-301")
        assert found is not None
        assert (found.organisation, found.project) == ("org", "project")
        evidence = found.evidence
        assert evidence is not None
        assert evidence.checkpoint == note
        checkpoint = open_checkpoint(note, SIGNER.verifier)
        merkle.verify_inclusion(
            leaf_hash(evidence.entry), evidence.index, checkpoint.size, evidence.proof, checkpoint.root
        )


async def test_proofs_between_signed_sizes_only(home: Path) -> None:
    async with life(home) as log:
        await log.append(facts(1, 300))
        first = open_checkpoint(await log.publish(), SIGNER.verifier)
        await log.append(facts(301, 300))
        with pytest.raises(ValueError, match="300 leaves"):
            await log.consistency(300, 600)
        second = open_checkpoint(await log.publish(), SIGNER.verifier)
        proof, size = await log.consistency(300, 0)
        assert size == 600
        merkle.verify_consistency(300, 600, first.root, second.root, proof)
        proof, size = await log.inclusion(299, 300)
        merkle.verify_inclusion(leaf_hash(facts(300, 1)[0].entry), 299, 300, proof, first.root)
        with pytest.raises(ValueError, match="no leaf"):
            await log.inclusion(300, 300)


async def test_gaps_are_known_and_filled(home: Path) -> None:
    async with life(home) as log:
        await log.append([*facts(1, 2), *facts(5, 2), *facts(9, 1)])
        await log.append([Fact(CONTROL, 1, "", "", "", b"{}")])
    async with life(home) as log:
        assert await log.append(facts(6, 1)) == 0
        assert await log.append(facts(3, 1)) == 1
        host = system_host()
        database = await open_store(home, "audit", host)
        found = await database.read(lambda connection: old_gaps(connection, host.clock.time_ns(), 10))
        assert [(gap.stream, *gap.gap[:2]) for gap in found] == [("billing/org", 4, 4), ("billing/org", 7, 8)]
        assert await database.read(lambda connection: old_gaps(connection, 0, 10)) == []
        await log.append([*facts(7, 2), *facts(4, 1)])
        assert await database.read(lambda connection: old_gaps(connection, host.clock.time_ns(), 10)) == []
        await database.close()
        await log.publish()
    order = [1, 2, 5, 6, 9, None, 3, 7, 8, 4]
    check_folder(home, [facts(seq, 1)[0].entry if seq else b"{}" for seq in order])


async def test_many_leaves_are_published_in_strides(home: Path) -> None:
    async with life(home) as log:
        await log.append(facts(1, 9000))
        await log.publish()
    check_folder(home, [fact.entry for fact in facts(1, 9000)])


def test_the_schema_is_that_of_the_tables(tmp_path: Path) -> None:
    assert drift(tmp_path / "audit.db", "audit", tables.metadata) == []
