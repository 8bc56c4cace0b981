"""What happens beside an answer while it is being written: the client leaves, or a stream is silent."""

from __future__ import annotations

from services.edge.answer import Answer
from services.edge.http.exchange import Receive


class Watch:
    """Sees the client leave, and tells the answer's owner."""

    __slots__ = ("_answer", "gone", "over")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.gone = False
        self.over = False
        """Set by the transport once nothing more is to be written: leaving then means nothing."""

    async def run(self, receive: Receive) -> None:
        """Wait for the end of the connection, or of the answer; the request's body must have been read."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self.over:
            self.gone = True
            self._answer.leave("client_gone")
            self._answer.nudge()


class Silence:
    """One stream's silence, counted in sweeps."""

    __slots__ = ("_answer", "due", "sweeps")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.sweeps = 0
        """Since something was written; the stream sets it to 0."""
        self.due = False
        """Whether a comment is to be written."""

    def break_it(self) -> None:
        """Make the stream say something."""
        self.due = True
        self._answer.nudge()


class Streams:
    """All open streams; one sweep over them takes the place of a timer for each."""

    def __init__(self, sweeps: int) -> None:
        self._sweeps = sweeps
        self._open: set[Silence] = set()

    def open(self, answer: Answer) -> Silence:
        """A stream begins."""
        silence = Silence(answer)
        self._open.add(silence)
        return silence

    def close(self, silence: Silence) -> None:
        """It has ended."""
        self._open.discard(silence)

    def sweep(self) -> None:
        """Called every `sweep_s`."""
        for silence in self._open:
            silence.sweeps += 1
            if silence.sweeps >= self._sweeps:
                silence.sweeps = 0
                silence.break_it()
