"""More requests than there is room for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import httpx

from tests.drills.drill import Figure, drill, sized
from tests.drills.visits import PATH
from tests.drills.world import World
from tests.e2e.running import MODEL, until

TOKENS = 16


class Offered:
    """Requests offered at a steady rate, whatever becomes of those before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.codes: Counter[int] = Counter()
        self.admitted: list[float] = []
        self.retry_after = 0
        """Refusals that say when to come again."""

    async def run(self, rate: float, seconds: float) -> float:
        """Answers of 200 a second while it lasts."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(trust_env=False, timeout=60.0, limits=limits) as client:
            began, running = time.monotonic(), []
            for number in range(round(rate * seconds)):
                running.append(asyncio.create_task(self._one(client, number)))
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            offered = time.monotonic() - began
            await asyncio.gather(*running)
        return self.codes[200] / max(offered, time.monotonic() - began)

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        began = time.monotonic()
        messages = [{"role": "user", "content": f"{number}: say something."}]
        url = self._world.urls[number % 2] + PATH
        headers = {"authorization": f"Bearer {self._world.tenant.secret}"}
        body = {"model": MODEL, "messages": messages, "max_tokens": TOKENS}
        try:
            answer = await client.post(url, json=body, headers=headers)
        except httpx.TransportError:
            self.codes[0] += 1
            return
        self.codes[answer.status_code] += 1
        self.retry_after += "retry-after" in answer.headers
        if answer.is_success:
            self.admitted.append(time.monotonic() - began)

    @property
    def late(self) -> float:
        """p99 of the admitted, in seconds."""
        return sorted(self.admitted)[int(len(self.admitted) * 0.99)] if self.admitted else 0.0


@drill(
    "F27",
    "overload: offered five times what the platform answered at 1 ×, open loop",
    aim="≥ 90 % of the goodput at 1 ×, refusals 429 or 503 with Retry-After",
)
def overload(world: World) -> Figure:
    seconds, rate = sized(4.0, 10.0), sized(10.0, 60.0)
    calm = Offered(world)
    one = asyncio.run(calm.run(rate, seconds))
    more = Offered(world)
    five = asyncio.run(more.run(5 * one, seconds))
    until(lambda: world.say(world.tenant, "Hello?") != {}, "service after it", 60.0)
    refused = more.codes[429] + more.codes[503]
    told = more.codes[200] + min(refused, more.retry_after)
    return Figure(
        more.codes.total(),
        told,
        "answered, or told when to come again",
        f"p99 of the admitted {calm.late:.2f} at 1 ×, {more.late:.2f} at 5 ×",
        met=five >= 0.9 * one,
        notes=[
            f"goodput {one:.0f}/s at 1 × ({rate:.0f}/s offered), {five:.0f}/s at 5 ×, by status"
            f" {dict(more.codes)}; the clients run on the same two cores"
        ],
    )
