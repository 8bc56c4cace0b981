"""Rows of books that have long been written in: settled requests, and a log of their facts.

They are those that the services would have written, but for three things that nothing on a request's path
reads: a stored fact, and a log's entry, has 64 bytes; and one usage serves all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar

from services.audit.facts import Fact, billing_stream
from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import Checkpoint, sign_checkpoint
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.note import Signer
from services.audit.tlog.tiles import TILE_BYTES, extend, nodes
from services.billing.books.rows import SETTLED, RequestRow
from tests.bench.settle import TRACE, USAGE

T = TypeVar("T")
Rows = Iterable[Sequence[Any]]

TENANTS: Final = 24
DAYS: Final = 200
PROMPT, OUTPUT = 99, 16
PROMPT_COST, OUTPUT_COST = PROMPT * 150, OUTPUT * 600
TOTAL: Final = PROMPT_COST + OUTPUT_COST
RESERVED: Final = 28_801
BODY: Final = b"x" * 64
CHUNK: Final = 1 << 16
"""Rows of one statement; of the log's leaves, a whole tile of level 1."""
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_MS: Final = int(BEGIN.timestamp() * 1000)
_DAYS: Final = [(BEGIN + timedelta(days=day)).date().isoformat() for day in range(DAYS)]


def request_id(number: int) -> str:
    """A UUIDv7 of the past, rising with its number."""
    ms = BEGIN_MS + number
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{number:012x}"


def scope(number: int) -> tuple[str, str, str]:
    """Organisation, project and key of a request."""
    organisation = f"org-{number % TENANTS}"
    return organisation, f"{organisation}-p", f"{organisation}-k"


def seq(number: int) -> int:
    """Of the request in its organisation."""
    return number // TENANTS + 1


def budget_names(number: int) -> list[str]:
    """Of last month: nothing is reserved under them any more."""
    return [f"{level}/{name}/EUR/2025-12-01" for level, name in enumerate(scope(number), 1)]


def requests(numbers: range) -> Rows:
    """Settled ones."""
    for number in numbers:
        ms = BEGIN_MS + number
        yield RequestRow(
            request_id(number),
            *scope(number),
            "small",
            "1",
            SETTLED,
            fingerprint=BODY[:32],
            reserved=RESERVED,
            price_prompt=150_000,
            price_cached=30_000,
            price_output=600_000,
            price_version="1",
            currency="EUR",
            period="2025-12-01",
            organisation_budget=budget_names(number)[0],
            project_budget=budget_names(number)[1],
            key_budget=budget_names(number)[2],
            reserved_ms=ms,
            expires_ms=ms + 180_000,
            traceparent=TRACE,
            billed=TOTAL,
            seq=seq(number),
        )


def usages(numbers: range) -> Rows:
    """One a request."""
    return ((request_id(number), 1, USAGE, BEGIN_MS + number) for number in numbers)


def entries(numbers: range, count: int) -> Rows:
    """One a request, spread over the days."""
    for number in numbers:
        organisation, project, _ = scope(number)
        counts = (PROMPT, 0, OUTPUT, OUTPUT, OUTPUT, TOTAL)
        names = (organisation, project, "small", "EUR", _DAYS[number * DAYS // count])
        yield (number + 1, request_id(number), "settlement", *names, *counts, (BEGIN_MS + number) * 10**6)


def lines(numbers: range) -> Rows:
    """Three an entry."""
    for number in numbers:
        yield (number + 1, 1, f"receivable:org-{number % TENANTS}", TOTAL)
        yield (number + 1, 2, "revenue:prompt", -PROMPT_COST)
        yield (number + 1, 3, "revenue:output", -OUTPUT_COST)


def facts(numbers: range) -> Rows:
    """One a request."""
    return ((scope(number)[0], seq(number), request_id(number), TRACE, BODY) for number in numbers)


def budgets(count: int) -> Rows:
    """Three an organisation, spent by its requests."""
    for tenant in range(min(TENANTS, count)):
        spent = len(range(tenant, count, TENANTS)) * TOTAL
        for level, name in enumerate(budget_names(tenant), 1):
            yield (name, level, scope(tenant)[level - 1], "EUR", "2025-12-01", spent, 0, spent)


def counters(count: int) -> Rows:
    """Where the numbers stand."""
    yield ("entry", count)
    for tenant in range(min(TENANTS, count)):
        yield (f"seq/org-{tenant}", len(range(tenant, count, TENANTS)))


def log_fact(number: int) -> Fact:
    """A fact of the log, as it is appended."""
    organisation, project, _ = scope(number)
    request = request_id(number)
    return Fact(billing_stream(organisation), seq(number), organisation, project, request, _entry(number))


def leaves(numbers: range) -> Rows:
    """Of those facts."""
    return ((number, *log_fact(number)) for number in numbers)


def streams(count: int) -> Rows:
    """How far each has come."""
    for tenant in range(min(TENANTS, count)):
        organisation = scope(tenant)[0]
        yield (billing_stream(organisation), len(range(tenant, count, TENANTS)) + 1)


class Tiles:
    """The tree over the first `count` facts, a chunk at a time; only what is not full yet is held."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._open: dict[tuple[int, int], bytes] = {}

    def rows(self) -> Rows:
        """All tiles."""
        for numbers in chunks(self._count):
            hashes = [leaf_hash(_entry(number)) for number in numbers]
            self._open.update(extend(self._read, numbers.start, hashes))
            for place in [place for place, content in self._open.items() if len(content) == TILE_BYTES]:
                yield (*place, self._open.pop(place))
        yield from ((*place, content) for place, content in self._open.items())

    def _read(self, level: int, number: int) -> bytes:
        return self._open[level, number]


def checkpoint(read: Any, signer: Signer, count: int) -> str:
    """The signed note over `count` leaves whose tiles `read` gives."""
    return sign_checkpoint(Checkpoint(signer.name, count, merkle.root(nodes(read), count)), signer)


def chunks(count: int) -> Iterator[range]:
    """Numbers up to `count`, in chunks that fill tiles."""
    return (range(start, min(count, start + CHUNK)) for start in range(0, count, CHUNK))


def batched(rows: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    iterator = iter(rows)
    while some := list(islice(iterator, size)):
        yield some


def _entry(number: int) -> bytes:
    return b"%064d" % number
