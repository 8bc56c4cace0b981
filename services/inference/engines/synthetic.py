"""An engine without a model: seeded ids of a real vocabulary at a set pace.

It measures and simulates the platform: same ids, same text, same rules for context and cells as the
model whose vocabulary it is given, and no arithmetic.
"""

from collections.abc import Sequence

from services.inference.engine import Capabilities, EngineError, Part, Vocabulary

MIX = 0x9E37_79B9_7F4A_7C15
MASK = 0xFFFF_FFFF_FFFF_FFFF


class SyntheticEngine:
    """Draws word number hash(seed, choice, index); never ends a sequence by itself."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        context: int,
        cells: int,
        sequences: int,
        batch: int,
        tokens_per_second: float = 0.0,
        words: Sequence[int] = (),
    ) -> None:
        """`tokens_per_second` is the pace of each sequence, 0 = as fast as possible.

        `words` are the ids it draws from; by default all that are a space and ASCII letters.
        """
        self.vocabulary = vocabulary
        self.capabilities = Capabilities(
            context=context,
            cells=cells,
            sequences=sequences,
            batch=batch,
            step_seconds=1.0 / tokens_per_second if tokens_per_second else 0.0,
        )
        self._words = tuple(words) or tuple(plausible_words(vocabulary))
        self._lengths: dict[int, int] = {}

    def step(self, parts: Sequence[Part]) -> list[int]:
        """See the port."""
        words, lengths = self._words, self._lengths
        count = len(words)
        ids = []
        for part in parts:
            if lengths.get(part.sequence, 0) != part.position:
                raise EngineError(f"sequence {part.sequence} does not end at position {part.position}")
            lengths[part.sequence] = part.position + len(part.ids)
            if part.draws:
                mixed = (part.seed + (part.index + 1) * MIX + part.choice * 0xD1B5_4A32_D192_ED03) & MASK
                mixed = ((mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
                ids.append(words[(mixed ^ (mixed >> 31)) % count])
        return ids

    def copy(self, source: int, target: int, length: int) -> None:
        """See the port."""
        if self._lengths.get(target, 0) or self._lengths.get(source, 0) < length:
            raise EngineError(f"cannot copy {length} positions of sequence {source} to {target}")
        self._lengths[target] = length

    def remove(self, sequence: int, start: int = 0) -> None:
        """See the port."""
        self._lengths[sequence] = min(start, self._lengths.get(sequence, 0))

    def close(self) -> None:
        """See the port."""
        self._lengths.clear()


def plausible_words(vocabulary: Vocabulary) -> list[int]:
    """Ids that read as a word: a space and ASCII letters. Raises ValueError if there are none."""
    found = []
    for token, piece in enumerate(vocabulary.pieces):
        word = piece[1:]
        if piece[:1] == b" " and len(word) > 1 and word.isascii() and word.isalpha() and word.islower():
            found.append(token)
    if not found:
        raise ValueError("the vocabulary has no words to draw from")
    return found
