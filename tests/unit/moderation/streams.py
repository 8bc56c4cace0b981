"""Streams for the window's tests: a text, cut into ids and these into deltas."""

from itertools import pairwise

from hypothesis import strategies as st

from services.moderation.matching.pack import Direction
from services.moderation.output.window import Delta, Window
from services.moderation.policy import Policy
from services.moderation.screening import Passage, Screening, screen


def borders(text: str, cuts: list[int]) -> list[int]:
    """Where the ids begin, and the end of the last."""
    return [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]


def run(
    policy: Policy, text: str, cuts: list[int], frames: list[int]
) -> tuple[Window, list[Delta], list[int]]:
    """Push `text`, cut into ids at `cuts` (repetitions are ids without text), in deltas of `frames` ids."""
    pieces = [text[a:b] for a, b in pairwise(borders(text, cuts))]
    window = Window(policy, 5)
    out: list[Delta] = []
    seen: list[int] = []
    at = turn = 0
    while at < len(pieces):
        size = max(1, frames[turn % len(frames)] if frames else 1)
        part = pieces[at : at + size]
        delta = window.push(list(range(at, at + len(part))), [len(piece) for piece in part], "".join(part))
        at, turn = at + size, turn + 1
        if delta:
            out.append(delta)
        seen.append(window.held)
        if window.refusal:
            return window, out, seen
    if (delta := window.finish()) is not None:
        out.append(delta)
    return window, out, seen


def whole(policy: Policy, text: str) -> tuple[Screening, str]:
    """What screening makes of the whole text, and the text with its labels uncut."""
    found = screen(policy, Direction.OUTPUT, [Passage("text", text)])
    kept, last = "", 0
    for span in found.spans:
        kept += text[last : span.start] + f"[{span.label}]"
        last = span.end
    return found, kept + text[last:]


CUTS = st.lists(st.integers(0, 80), max_size=40)
FRAMES = st.lists(st.integers(1, 6), max_size=5)
PIECES = st.sampled_from(
    [
        "bomb", "b", "omb", "pipe ", "b o m b", "B0MB", "bo\u200bmb", "sar", "in", "炸", "弹", " ", ".", "\n",
        "make ", "napalm", "4111", "1111", "4111 1111 1111 1111", "5", "-", "ann", " lee", "@", "home",
        "x.sg", ".com", "a.b@c.de", "giết", "giet", "gie", "\u0302\u0301", "t", "budget", "é", "ﬁ", "\u00ad",
        "word", "ⓑ", "🇧", "Ж", "१", "ก็", "it",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join)
