"""The transparency log and the ledger as a whole, counted again from the database's rows."""

from __future__ import annotations

from collections.abc import Sequence

from services.audit.tlog.checkpoint import Checkpoint, open_sole_checkpoint
from services.audit.tlog.merkle import leaf_hash, node_hash
from services.audit.tlog.note import parse_verifier
from tests.drills.world import World
from tests.e2e.running import until

_MISSING = (
    "SELECT COUNT(*) FROM billing.facts f LEFT JOIN audit.leaves l"
    " ON l.stream = 'billing/' || f.organisation AND l.seq = f.seq AND l.request = f.request"
    " WHERE l.number IS NULL"
)
_TWICE = "SELECT COUNT(*) FROM (SELECT 1 FROM billing.entries GROUP BY request, kind HAVING COUNT(*) > 1) t"
_GAPS = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM billing.facts GROUP BY organisation"
    " HAVING COUNT(*) <> MAX(seq) OR MIN(seq) <> 1) t"
)


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962's, by its definition; of one leaf or more."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(tree_hash(leaves[:left]), tree_hash(leaves[left:]))


def entries(world: World) -> list[bytes]:
    """Every entry of the log, in its order."""
    return [bytes(row[0]) for row in world.rows("SELECT entry FROM audit.leaves ORDER BY number")]


def signed(world: World) -> Checkpoint:
    """The last checkpoint, its signature checked."""
    public = world.folder / "secrets" / "audit" / "log.pub"
    (row,) = world.rows("SELECT checkpoint FROM audit.head")
    return open_sole_checkpoint(row[0], parse_verifier(public.read_text().strip()))


def agrees(found: Sequence[bytes], checkpoint: Checkpoint) -> bool:
    """Whether these entries are the ones that were signed."""
    if len(found) < checkpoint.size or not checkpoint.size:
        return False
    return tree_hash([leaf_hash(entry) for entry in found[: checkpoint.size]]) == checkpoint.root


def whole_log(world: World) -> list[str]:
    """What is to be said of everything that the world has done. Raises `AssertionError` where it is wrong."""
    until(lambda: world.count(_MISSING) == 0, "the log to hold every settlement", 60.0)
    found = entries(world)
    until(lambda: signed(world).size == len(found), "the whole log to be signed", 30.0)
    assert agrees(found, signed(world)), "the log's entries are not those that were signed"
    assert world.count(_TWICE) == 0, "an entry stands twice in the ledger"
    assert world.count(_GAPS) == 0, "a tenant's sequence of settlements has a gap"
    done = world.deployment.command("ledger", "verify", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    settled = world.count("SELECT COUNT(*) FROM billing.requests WHERE state = 'settled'")
    faults = world.tracebacks()
    lines = [
        f"all drills together: {settled} requests settled, each once; debits = credits (`freehold ledger"
        f" verify`); the log's {len(found)} entries hash to the root that was signed",
    ]
    if faults:
        lines.append(f"tracebacks in the services' output: {len(faults)}: {faults[:3]}")
    return lines
