"""Check what no linter does: sizes of files and functions, names that say nothing, and code that takes
from the machine what it must be given (time, chance, tasks, threads, environment, exit).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
VAGUE = {"utils.py", "helpers.py", "common.py", "manager.py", "base.py", "misc.py"}
GENERATED = "shared/contracts/freehold/"
GIVEN_IN = ("services/", "shared/")
"""Where the world is given; tests and the tools in `ops` are the world."""

TASKS = "tasks are started by shared.lifecycle.Tasks"
TIME = "time is given: Host.clock"
CHANCE = "chance is given: Host.random"
THREADS = "threads are given: Host.executor"
ENVIRONMENT = "the environment is read by settings classes"
EXIT = "the process's end is given: Host.exit"

TAKEN = {
    "asyncio.TaskGroup": TASKS,
    "asyncio.create_task": TASKS,
    "asyncio.ensure_future": TASKS,
    "asyncio.sleep": TIME,
    "time": TIME,
    "datetime.date.today": TIME,
    "datetime.datetime.now": TIME,
    "datetime.datetime.today": TIME,
    "datetime.datetime.utcnow": TIME,
    "os.urandom": CHANCE,
    "random": CHANCE,
    "secrets": CHANCE,
    "uuid.uuid1": CHANCE,
    "uuid.uuid4": CHANCE,
    "_thread": THREADS,
    "asyncio.to_thread": THREADS,
    "concurrent.futures": THREADS,
    "multiprocessing": THREADS,
    "subprocess": THREADS,
    "threading": THREADS,
    "os.environ": ENVIRONMENT,
    "os.environb": ENVIRONMENT,
    "os.getenv": ENVIRONMENT,
    "os._exit": EXIT,
    "sys.exit": EXIT,
}
"""A module or a member of one -> why it is refused."""

TAKEN_METHODS = {"create_task": TASKS, "run_in_executor": THREADS}
"""On whatever object: nothing but an event loop has them."""

HARMLESS = {"random.Random"}
"""A type, or a generator with a seed of its own."""

ALLOWED = {
    # The machine behind the ports of shared.host, and the one place where tasks are started.
    "shared/chance.py": {"os.urandom", "threading"},
    "shared/clock.py": {"time", "asyncio.sleep"},
    "shared/executor.py": {"threading"},
    "shared/host.py": {"sys.exit"},
    "shared/lifecycle.py": {"create_task"},
    # A lock: Alembic keeps the running environment in module state.
    "shared/storage/migrations.py": {"threading"},
    # Of what is a future already, which starts no task.
    "services/edge/owner/insisting.py": {"asyncio.ensure_future"},
    # The process itself: what its C libraries read, its start against a clock and a signal, and a client.
    "services/cli/__init__.py": {"os.environ"},
    "services/cli/embedded/platform.py": {"asyncio.ensure_future"},
    "services/cli/tour.py": {"asyncio.sleep"},
    "services/cli/embedded/process.py": {"asyncio.ensure_future"},
    "services/cli/deployed/process.py": {"asyncio.ensure_future"},
}
"""File -> what it may take; each exception must be needed."""


def complaints(name: str, source: str) -> list[str]:
    """What is wrong with one file, as `name:line: why`. `name` is its path below the root."""
    tree = ast.parse(source)
    found = [*_sizes(name, source, tree)]
    if name.startswith(GIVEN_IN):
        found += _taken(name, tree)
    return found


def _sizes(name: str, source: str, tree: ast.Module) -> Iterator[str]:
    if name.rpartition("/")[2] in VAGUE:
        yield f"{name}:1: the name says nothing"
    lines = source.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{name}:1: {lines} lines, at most {MAX_FILE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"


def _taken(name: str, tree: ast.Module) -> Iterator[str]:
    origins = dict(_origins(tree))
    turns = {
        id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call) and _is_turn(call, origins)
    }
    found = {
        (node.lineno, _rule(node, origins))
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in turns
    }
    allowed = ALLOWED.get(name, set())
    for line, rule in sorted(found):
        if rule and rule not in allowed:
            yield f"{name}:{line}: {rule}: {TAKEN.get(rule) or TAKEN_METHODS[rule]}"
    for rule in sorted(allowed - {rule for _, rule in found}):
        yield f"{name}:1: {rule} is allowed here and not used"


def _origins(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name in this file, what it stands for) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                package = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (package, package)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _rule(node: ast.Name | ast.Attribute, origins: dict[str, str]) -> str:
    """The entry that an expression falls under; empty where it falls under none."""
    full = _full(node, origins)
    if not full:
        method = node.attr if isinstance(node, ast.Attribute) else ""
        return method if method in TAKEN_METHODS else ""
    if full in HARMLESS or "." not in full:
        return ""
    return next((entry for entry in (full, full.rpartition(".")[0]) if entry in TAKEN), "")


def _full(node: ast.expr, origins: dict[str, str]) -> str:
    """`asyncio.sleep` for that expression however it was imported; empty where its root is no import."""
    if isinstance(node, ast.Name):
        return origins.get(node.id, "")
    if isinstance(node, ast.Attribute) and (root := _full(node.value, origins)):
        return f"{root}.{node.attr}"
    return ""


def _is_turn(call: ast.Call, origins: dict[str, str]) -> bool:
    """Whether a call is `asyncio.sleep(0)`: a turn of the loop, and no time."""
    return _full(call.func, origins) == "asyncio.sleep" and [ast.unparse(given) for given in call.args] == [
        "0"
    ]


def main() -> None:
    """Entry point."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True)
    names = [name for name in listed.stdout.splitlines() if not name.startswith(GENERATED)]
    found = [f"{name}:1: has exceptions and is not there" for name in sorted(ALLOWED.keys() - set(names))]
    found += [
        text
        for name in names
        if (ROOT / name).exists()
        for text in complaints(name, (ROOT / name).read_text(encoding="utf-8"))
    ]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
