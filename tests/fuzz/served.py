"""An edge on a loop of its own, so that a fuzzer's thread can call it as any client does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from tests.integration.edge_front import Edge, running_edge

T = TypeVar("T")
PATIENCE_S = 120.0


class Served:
    """One edge whose owner answers every request."""

    def __init__(self, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._life = AsyncExitStack()
        self.edge: Edge = self.run(self._open(settings))
        self.base = self.edge.url.removesuffix("/v1")

    def __repr__(self) -> str:
        return "an edge"

    async def _open(self, settings: dict[str, Any]) -> Edge:
        return await self._life.enter_async_context(running_edge(**settings))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this on the edge's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        """Stop it."""
        self.run(self._life.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
