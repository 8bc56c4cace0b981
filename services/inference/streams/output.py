"""What one choice gives out: its ids in order, each with the text that it ended.

An id is held while its last code point is unfinished or a stop may have begun in it, so what is given
out ends with whole code points and never holds a part of a stop.
"""

from collections.abc import Sequence

from services.inference.streams.detokenize import Detokenizer, Texts
from services.inference.streams.stops import StopMatcher

MOST_UNFINISHED = 16
"""Ids held for unfinished code points: a code point has 4 bytes, only noise goes on without a border."""


class Columns:
    """Ids and texts that streams gave out in one step, one entry per stream."""

    __slots__ = ("counts", "ids", "indices", "lengths", "streams", "texts")

    def __init__(self) -> None:
        self.streams: list[object] = []
        self.indices: list[int] = []
        self.counts: list[int] = []
        self.texts: list[str] = []
        self.ids: list[int] = []
        """Of all entries, one after the other."""
        self.lengths: list[int] = []
        """Code points of text for each id."""


class Output:
    """Detokeniser, stops and held ids of one choice."""

    __slots__ = (
        "_border",
        "_detokenizer",
        "_held",
        "_offset",
        "_stops",
        "_stream",
        "_whole",
        "index",
        "prefix_text",
    )

    def __init__(self, stream: object, texts: Texts, stops: Sequence[str], prefix: Sequence[int]) -> None:
        """`prefix` was given out by an earlier attempt. Raises ValueError for bad stops."""
        self._stream = stream
        self._whole = texts.whole
        self._detokenizer = Detokenizer(texts)
        self._stops = StopMatcher(stops) if stops else None
        self._held: list[tuple[int, str]] = []
        self._border = 0
        self.index = len(prefix)
        """Of the next id to give out."""
        self.prefix_text = self._detokenizer.skip(prefix)
        self._offset = len(self.prefix_text)
        """Of the first held text, from the beginning of the chain."""

    def ended_by_prefix(self) -> bool:
        """Whether the prefix already holds a stop. To be called once, before the first push."""
        return self._stops is not None and self._stops.push(self.prefix_text) is not None

    def push(self, token: int, out: Columns) -> bool:
        """Take the next id; True where it completed a stop: everything is then given out."""
        if self._stops is None and not self._held:
            text = self._whole[token]
            if text is not None and not self._detokenizer.pending:
                out.streams.append(self._stream)
                out.indices.append(self.index)
                out.counts.append(1)
                out.texts.append(text)
                out.ids.append(token)
                out.lengths.append(len(text))
                self.index += 1
                return False
        return self._push_held(token, out)

    def _push_held(self, token: int, out: Columns) -> bool:
        text = self._detokenizer.push(token)
        self._held.append((token, text))
        live = 0
        if self._stops is not None:
            cut = self._stops.push(text)
            if cut is not None:
                self._cut(max(0, cut - self._offset))
                self._give(len(self._held), out)
                return True
            live = self._stops.live
        if not self._detokenizer.pending:
            self._border = len(self._held)
        elif len(self._held) - self._border > MOST_UNFINISHED:
            self._border = len(self._held) - 1
        self._give(self._free(live), out)
        return False

    def _free(self, live: int) -> int:
        """How many held ids, up to the border, end before the live beginning of a stop."""
        free = self._border
        if live:
            kept = sum(len(text) for _, text in self._held[free:])
            while free and kept < live:
                free -= 1
                kept += len(self._held[free][1])
        return free

    def _cut(self, length: int) -> None:
        """Keep the first `length` code points of the held text; the ids stay, with less text or none."""
        for place, (token, text) in enumerate(self._held):
            self._held[place] = (token, text[:length])
            length -= min(length, len(text))

    def _give(self, count: int, out: Columns) -> None:
        if not count:
            return
        given = self._held[:count]
        del self._held[:count]
        text = "".join([text for _, text in given])
        out.streams.append(self._stream)
        out.indices.append(self.index)
        out.counts.append(count)
        out.texts.append(text)
        out.ids.extend([token for token, _ in given])
        out.lengths.extend([len(text) for _, text in given])
        self.index += count
        self._offset += len(text)
        self._border = max(0, self._border - count)

    def finish(self, out: Columns) -> None:
        """Give out what is held; an unfinished code point becomes U+FFFD in the last id's text."""
        rest = self._detokenizer.finish()
        if self._held and rest:
            token, text = self._held[-1]
            self._held[-1] = (token, text + rest)
        self._give(len(self._held), out)
