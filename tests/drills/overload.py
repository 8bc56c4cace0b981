"""More requests than there is room for."""

from __future__ import annotations

import asyncio

from tests.bench.embedded import PATH, chat
from tests.bench.keys import make_keys
from tests.bench.open_loop import OpenLoop, Seen, share
from tests.bench.overload import PACE, SLOTS, TOKENS
from tests.drills.drill import Figure, drill, sized
from tests.drills.world import World
from tests.e2e.deployment import Deployment

TIMES = 5


@drill(
    "F27",
    f"{TIMES} times what the worker can serve at most, by clients that do not wait for each other",
    aim="≥ 90 % of the goodput at 1 ×, p99 of the answered within 2 ×, Retry-After with each refusal",
)
def overload(world: World) -> Figure:
    capacity = SLOTS * PACE / TOKENS
    given = {"FREEHOLD_INFERENCE_SLOTS": str(SLOTS), "FREEHOLD_INFERENCE_TOKENS_PER_SECOND": str(PACE)}
    with world.beside("synthetic", **given) as other:
        once, five = asyncio.run(_offered(other, capacity))
        assert "ok" in other.command("ledger", "verify").stdout
    refused = five.statuses[429] + five.statuses[503]
    told = five.statuses[200] + min(refused, len(five.told))
    share_of = five.tokens / max(1, once.tokens)
    p99 = [share(seen.latencies, 0.99) for seen in (once, five)]
    return Figure(
        five.statuses.total(),
        told,
        "answered, or told when to come again",
        f"p99 of the answered {p99[0]:.2f} at 1 ×, {p99[1]:.2f} at {TIMES} ×",
        met=share_of >= 0.9 and p99[1] <= 2 * p99[0],
        notes=[
            f"goodput at {TIMES} × is {share_of:.0%} of that at 1 × ({capacity:.0f} requests/s), by status"
            f" {dict(five.statuses)}"
        ],
    )


async def _offered(other: Deployment, capacity: float) -> tuple[Seen, Seen]:
    token = (other.folder / "secrets" / "token").read_text().strip()
    target = other.environment["FREEHOLD_CONTROL_TARGET"]
    (key,) = await asyncio.to_thread(make_keys, target, token, other.base_url, 1)
    loop = OpenLoop(other.http_port, PATH, chat(TOKENS, stream=False), key, [])
    seconds, before = sized(5.0, 12.0), sized(2.0, 5.0)
    await loop.run(capacity, 0.0, before, 0.0)
    seen = [await loop.run(factor * capacity, before, seconds, 0.0) for factor in (1, TIMES)]
    loop.close()
    return seen[0], seen[1]
