"""The house's own check finds what it is there to find, and lets the rest be."""

from __future__ import annotations

import pytest

from ops.house_style import MAX_FILE_LINES, MAX_FUNCTION_LINES, complaints

TAKES = [
    ("import asyncio\nasyncio.create_task(f())", "asyncio.create_task"),
    ("import asyncio\nasyncio.get_running_loop().create_task(f())", "create_task"),
    ("from asyncio import ensure_future as later\nlater(f())", "asyncio.ensure_future"),
    ("import asyncio as a\nasync def f(): await a.sleep(1)", "asyncio.sleep"),
    ("import asyncio\nasync def f(s): await asyncio.sleep(s)", "asyncio.sleep"),
    ("import time\ntime.monotonic()", "time"),
    ("from time import perf_counter\nperf_counter()", "time"),
    ("from datetime import UTC, datetime\ndatetime.now(UTC)", "datetime.datetime.now"),
    ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
    ("import random\nrandom.choice([1])", "random"),
    ("import random\nrandom.SystemRandom()", "random"),
    ("import secrets\nsecrets.token_hex()", "secrets"),
    ("from uuid import uuid4\nuuid4()", "uuid.uuid4"),
    ("import os\nos.environ.get('A')", "os.environ"),
    ("from os import getenv\ngetenv('A')", "os.getenv"),
    ("import threading\nthreading.Lock()", "threading"),
    ("from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor()", "concurrent.futures"),
    ("def f(loop): loop.run_in_executor(None, f)", "run_in_executor"),
    ("import sys\nsys.exit(1)", "sys.exit"),
]

GIVEN = [
    "import asyncio\nasync def f(): await asyncio.sleep(0)",
    "import random\ndef f(chance: random.Random) -> int: return chance.getrandbits(8)",
    "import random\nrandom.Random(7)",
    "from datetime import datetime\ndatetime.fromtimestamp(0)",
    "import uuid\nuuid.UUID('0')",
    "def f(host): return host.clock.time_ns(), host.random.random()",
    "def f(time): return time.monotonic()",
]


@pytest.mark.parametrize(("source", "rule"), TAKES, ids=[f"{rule}{n}" for n, (_, rule) in enumerate(TAKES)])
def test_what_is_taken_from_the_machine_is_found_once_with_its_line(source: str, rule: str) -> None:
    found = complaints("services/edge/some.py", source)
    assert [text.split(": ")[1] for text in found] == [rule]
    line = 1 if "\n" not in source else 2
    assert found[0].startswith(f"services/edge/some.py:{line}: ")


@pytest.mark.parametrize("source", GIVEN)
def test_what_is_given_is_let_be(source: str) -> None:
    assert complaints("shared/some.py", source) == []


def test_tests_and_tools_may_take() -> None:
    assert complaints("tests/unit/test_some.py", TAKES[0][0]) == []


def test_an_exception_is_for_one_file_and_one_thing() -> None:
    used = "import threading\nthreading.Lock()\n"
    assert complaints("shared/storage/migrations.py", used) == []
    assert complaints("shared/storage/sqlite.py", used) != []
    assert complaints("shared/storage/migrations.py", used + "import random\nrandom.random()") != []
    assert complaints("shared/storage/migrations.py", "") != [], "an exception that nobody needs"


def test_sizes_and_names() -> None:
    assert complaints("services/edge/utils.py", "") != []
    assert complaints("shared/a.py", "\n" * MAX_FILE_LINES) == []
    assert complaints("shared/a.py", "\n" * (MAX_FILE_LINES + 1)) != []
    body = "\n    pass"
    assert complaints("shared/a.py", "def f():" + body * (MAX_FUNCTION_LINES - 1)) == []
    assert complaints("shared/a.py", "def f():" + body * MAX_FUNCTION_LINES) != []
