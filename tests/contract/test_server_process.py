"""What the tests themselves stand on: no server outlives them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import sys, time
from pathlib import Path
from tests.servers.process import ServerProcess
server = ServerProcess(["sleep", "600"], Path(sys.argv[1]) / "log", None, {})
server.launch()
print(server.pid, flush=True)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    """Whether it runs; one that nobody has asked for its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_ends_with_the_tests_that_were_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TESTS, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        server = int(tests.stdout.readline())
        assert lives(server)
        tests.kill()
    deadline = time.monotonic() + 30.0
    while lives(server):
        assert time.monotonic() < deadline, "it was left behind"
        time.sleep(0.02)
