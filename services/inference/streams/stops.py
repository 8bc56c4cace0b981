"""Stop sequences in a text that comes in pieces; borders between tokens do not matter."""

from collections.abc import Sequence

MOST_STOPS = 16
LONGEST_STOP = 1_024
"""Code points. Both bound what a stream may hold back and what a code point of output may cost."""


class StopMatcher:
    """Finds the first stop that completes, and says how much text may still become one.

    Knuth, Morris and Pratt: one automaton per stop, a step of each per code point.
    """

    __slots__ = ("_automata", "_seen", "live")

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises ValueError for an empty or too long stop, or too many of them."""
        if len(stops) > MOST_STOPS or not all(0 < len(stop) <= LONGEST_STOP for stop in stops):
            raise ValueError(f"at most {MOST_STOPS} stops of 1 to {LONGEST_STOP} code points")
        self._automata = [_Automaton(stop) for stop in stops]
        self._seen = 0
        self.live = 0
        """Code points at the end of the text that are the beginning of a stop."""

    def push(self, text: str) -> int | None:
        """The offset, from the very beginning, of a stop that completes in `text`; else None.

        Of stops that complete at the same code point the longest counts. After a match: undefined.
        """
        for place, point in enumerate(text, self._seen + 1):
            longest = 0
            for automaton in self._automata:
                if automaton.advance(point):
                    longest = max(longest, automaton.length)
            if longest:
                return place - longest
        self._seen += len(text)
        self.live = max((automaton.state for automaton in self._automata), default=0)
        return None


class _Automaton:
    __slots__ = ("_back", "_stop", "length", "state")

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self.length = len(stop)
        self.state = 0
        """Length of the longest beginning of the stop that the text ends with."""
        self._back = [0] * len(stop)
        matched = 0
        for place in range(1, len(stop)):
            while matched and stop[place] != stop[matched]:
                matched = self._back[matched - 1]
            matched += stop[place] == stop[matched]
            self._back[place] = matched

    def advance(self, point: str) -> bool:
        """Whether the stop is complete with this code point."""
        state = self.state
        while state and point != self._stop[state]:
            state = self._back[state - 1]
        self.state = state = state + (point == self._stop[state])
        return state == self.length
