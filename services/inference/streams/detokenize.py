"""Ids to text, incrementally: whole code points only, and the text of each id exactly once."""

import codecs
from collections.abc import Iterable, Sequence

_utf8 = codecs.getincrementaldecoder("utf-8")


class Texts:
    """The text of each id that is whole code points by itself, made once per vocabulary."""

    __slots__ = ("pieces", "whole")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.whole: list[str | None] = [_whole(piece) for piece in pieces]
        """None where the id's bytes are a part of a code point, or not UTF-8."""


def _whole(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


class Detokenizer:
    """One stream. Bytes that are not UTF-8 become U+FFFD, exactly as if all were decoded at once."""

    __slots__ = ("_decoder", "_pieces", "_whole", "pending")

    def __init__(self, texts: Texts) -> None:
        self._pieces = texts.pieces
        self._whole = texts.whole
        self._decoder = _utf8("replace")
        self.pending = False
        """Whether bytes of an unfinished code point are held."""

    def push(self, token: int) -> str:
        """The code points that this id completed."""
        if not self.pending and (text := self._whole[token]) is not None:
            return text
        decoded = self._decoder.decode(self._pieces[token])
        self.pending = bool(self._decoder.getstate()[0])
        return decoded

    def skip(self, tokens: Iterable[int]) -> str:
        """The text of ids that another detokeniser has given out; what is unfinished stays pending."""
        text = self._decoder.decode(b"".join(self._pieces[token] for token in tokens))
        self.pending = bool(self._decoder.getstate()[0])
        return text

    def finish(self) -> str:
        """What is left at the end: U+FFFD for an unfinished code point, else nothing."""
        self.pending = False
        return self._decoder.decode(b"", final=True)
