"""A real model's answers, cut off in the middle and continued by another worker."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.drills.drill import Figure, drill, sized
from tests.drills.world import World
from tests.e2e.deployment import Deployment
from tests.e2e.running import MODEL, until

TOKENS = 64
CUT_AT = 8
"""Parts of an answer that every client has had when the worker is killed."""
PROMPTS = (
    "Tell me about rivers in Asia.",
    "Write a short story about a lighthouse.",
    "Explain how bread is baked.",
    "Describe a train journey through the mountains.",
)


@dataclass
class Heard:
    """One stream as its client had it."""

    greedy: bool
    text: str = ""
    parts: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    """Its last chunk: with usage and evidence where it is whole."""

    @property
    def whole(self) -> bool:
        """Ids are complete, none lost or repeated, and what was counted is what is billed."""
        if "usage" not in self.last:
            return False
        counted = int(self.last["usage"]["completion_tokens"])
        tokens = self.last["freehold"]["tokens"]
        return 0 < counted <= TOKENS and all(int(tokens[name]) == counted for name in ("delivered", "billed"))


def ask(other: Deployment, number: int, heard: Heard) -> None:
    """Read one stream to its end."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": PROMPTS[number % len(PROMPTS)]}],
        "max_tokens": TOKENS,
        "seed": 1000 + number,
        "temperature": 0.0 if heard.greedy else 0.8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {other.key}"}
    url = f"{other.base_url}/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=200.0) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            heard.last = json.loads(line.removeprefix("data: "))
            for choice in heard.last.get("choices", ()):
                text = choice["delta"].get("content") or ""
                heard.text += text
                heard.parts += bool(text)


def streams(other: Deployment, count: int, cut: str = "") -> list[Heard]:
    """So many at once; a worker is killed once each has begun."""
    heard = [Heard(greedy=number % 2 == 0) for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        if cut:
            threading.Thread(target=_kill, args=(other, heard, cut), daemon=True).start()
        list(pool.map(lambda number: ask(other, number, heard[number]), range(count)))
    return heard


def _kill(other: Deployment, heard: list[Heard], cut: str) -> None:
    until(lambda: all(one.parts >= CUT_AT or one.last.get("usage") for one in heard), "all to begin", 120.0)
    other.replicas[cut].kill()


@drill(
    "F1b",
    "one of two workers with the real model killed in mid-answer, greedy and seeded",
    aim="ids complete, none lost or repeated; equal text is reported, not promised",
    seconds=900.0,
)
def spliced(world: World) -> Figure:
    count = sized(4, 12)
    with world.beside("llama", ("inference",)) as other:
        before = streams(other, count)
        began = time.monotonic()
        after = streams(other, count, "inference")
        took = time.monotonic() - began
        assert "ok" in other.command("ledger", "verify").stdout
    same = {True: 0, False: 0}
    for one, then in zip(after, before, strict=True):
        same[one.greedy] += one.text == then.text
    return Figure(
        count,
        sum(one.whole for one in after),
        "answers with all their ids",
        f"{took:.1f} until all were whole",
        met=all(one.whole for one in before),
        notes=[
            f"equal to the text of an uncut run in other batches: greedy {same[True]} of {(count + 1) // 2},"
            f" seeded {same[False]} of {count // 2}"
        ],
    )
