"""A recorder inside the engine port: counts ids apart from the path that usage takes."""

from collections.abc import Callable, Sequence

from services.inference.engine import Engine, Part


class CountingEngine:
    """An engine that notes how many ids it has drawn for each key; drills compare that with the ledger."""

    def __init__(self, inner: Engine, on_step: Callable[[], None] | None = None) -> None:
        """`on_step` is called after each step, on the engine's thread."""
        self._inner = inner
        self._on_step = on_step
        self.capabilities = inner.capabilities
        self.vocabulary = inner.vocabulary
        self.drawn: dict[object, int] = {}

    def step(self, parts: Sequence[Part]) -> list[int]:
        """See the port."""
        ids = self._inner.step(parts)
        for part in parts:
            if part.draws:
                self.drawn[part.key] = self.drawn.get(part.key, 0) + 1
        if self._on_step is not None:
            self._on_step()
        return ids

    def copy(self, source: int, target: int, length: int) -> None:
        """See the port."""
        self._inner.copy(source, target, length)

    def remove(self, sequence: int, start: int = 0) -> None:
        """See the port."""
        self._inner.remove(sequence, start)

    def close(self) -> None:
        """See the port."""
        self._inner.close()
