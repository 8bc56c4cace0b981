"""Moderation's cost and delay, in one run: `python -m tests.bench.moderation [SECONDS]`.

Prints one JSON object. Anchors of the same run: Hyperscan alone over the same text, and a frame that is
only decoded and encoded again.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import hyperscan

from services.moderation.matching.matcher import Matcher, compile_pack
from services.moderation.matching.pack import Direction, load_pack
from services.moderation.output.stream import Read, Stream
from services.moderation.output.streams import Streams, check_frame
from services.moderation.output.window import Window
from services.moderation.policy import Policy
from services.moderation.screening import Passage, screen
from services.tokenizer.vocabulary import Vocabulary, vocabulary_of_gguf
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.models.gguf import read_metadata
from shared.models.manifest import find_weights, load_manifest

ROOT = Path(__file__).parents[2]
TEXTS = {
    "en": "The ministry publishes its budget every year in March, and the report explains how the money was "
    "spent on schools, roads and hospitals. I think readers will find the figures in the annex useful: they "
    "are given by province, and by quarter, so that anyone can compare them with the plan of 2026.\n\n",
    "zh": "财政部每年三月公布预算，报告说明资金如何用于学校、道路和医院。"
    "读者可以在附件中找到按省份和季度列出的数字。",
    "vi": "Bộ Tài chính công bố ngân sách hằng năm vào tháng Ba, và báo cáo giải thích cách tiền được chi "
    "cho trường học, đường sá và bệnh viện. ",
    "ar": "تنشر الوزارة ميزانيتها كل عام في شهر مارس، ويوضح التقرير كيفية إنفاق الأموال على المدارس والطرق. ",
    "th": "กระทรวงเผยแพร่งบประมาณทุกปีในเดือนมีนาคม และรายงานอธิบายว่าเงินถูกใช้ไปกับโรงเรียนและถนนอย่างไร ",
}
STREAMS = 64
TOKENS = 6
"""Of a stream in a frame: 20 ms of 300 tokens a second."""


class Unheard:
    """Outcomes that nobody is told of."""

    def ended(self, request: bytes, stream: Stream) -> None: ...

    def broken(self, request: bytes, stream: Stream | None, reason: str) -> None: ...


def microseconds(call: Callable[[], object], seconds: float) -> float:
    """Median CPU microseconds of a call over rounds."""
    rounds = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.process_time()
        call()
        rounds.append((time.process_time() - begun) * 1e6)
    return statistics.median(rounds)


Pieces = list[tuple[list[int], list[int], str]]
"""Deltas: ids, the code points that each ends, text."""


def deltas(vocabulary: Vocabulary, text: str, size: int) -> Pieces:
    """A text as the default model's tokens, `size` to a delta; half a character counts for its last token."""
    (ids,) = vocabulary.encode([text])
    ends = [len(vocabulary.decode(ids[: place + 1]).rstrip("\ufffd")) for place in range(len(ids))]
    found: Pieces = []
    for first in range(0, len(ids), size):
        borders = [ends[first - 1] if first else 0, *ends[first : first + size]]
        lengths = [after - before for before, after in pairwise(borders)]
        found.append((ids[first : first + size], lengths, text[borders[0] : borders[-1]]))
    return found


def window_figures(policy: Policy, vocabulary: Vocabulary, seconds: float) -> dict[str, dict[str, float]]:
    """CPU of a push and the hold-back, by language."""
    figures: dict[str, dict[str, float]] = {}
    for language, text in TEXTS.items():
        text *= 8  # noqa: PLW2901 - long enough to have forgotten its beginning
        single, several = deltas(vocabulary, text, 1), deltas(vocabulary, text, TOKENS)
        window = Window(policy)
        held = []
        for delta in single:
            window.push(*delta)
            held.append(window.held)
        figures[language] = {
            "us_a_delta_of_1": push_cost(policy, single, seconds),
            f"us_a_delta_of_{TOKENS}": push_cost(policy, several, seconds),
            "held_tokens_mean": statistics.mean(held),
            "held_tokens_most": max(held),
            "released_at_once": sum(count == 0 for count in held) / len(held),
        }
    return figures


def push_cost(policy: Policy, pieces: Pieces, seconds: float) -> float:
    """CPU of one delta."""

    def stream() -> None:
        window = Window(policy)
        for delta in pieces:
            window.push(*delta)
        window.finish()

    return microseconds(stream, seconds) / len(pieces)


def frame_figures(policy: Policy, vocabulary: Vocabulary, seconds: float) -> dict[str, float]:
    """CPU of frames that carry all streams, decoded and encoded as the handler does."""
    pieces = deltas(vocabulary, TEXTS["en"] * 8, TOKENS)[:21]
    frames = [encoded(pieces, turn) for turn in range(len(pieces))]
    tokens = STREAMS * sum(len(ids) for ids, _, _ in pieces)

    def vet() -> None:
        streams = Streams(lambda _: policy, Unheard(), 30.0)
        for value in frames:
            frame = Frame.FromString(value)
            check_frame(frame)
            vetted = streams.vet(frame, Read(0, 0), 0.0)
            if vetted is not None:
                vetted.SerializeToString()

    def copy() -> None:
        for value in frames:
            Frame.FromString(value).SerializeToString()

    cost, anchor = microseconds(vet, seconds), microseconds(copy, seconds)
    return {
        "streams": STREAMS,
        "us_a_frame": cost / len(frames),
        "us_a_delta": cost / len(frames) / STREAMS,
        "us_a_frame_only_decoded_and_encoded": anchor / len(frames),
        "us_a_token": cost / tokens,
        "share_of_a_core_at_20000_tokens_s": 20_000 * cost / tokens / 1e6,
    }


def encoded(pieces: Pieces, turn: int) -> bytes:
    """The frame of one turn: every stream says the same."""
    ids, lengths, text = pieces[turn]
    first = sum(len(before) for before, _, _ in pieces[:turn])
    numbers = range(STREAMS)
    last = turn == len(pieces) - 1
    return Frame(
        request=[number.to_bytes(16, "big") for number in numbers],
        attempt=[1] * STREAMS,
        choice=[0] * STREAMS,
        text_stream=numbers,
        text_index=[first] * STREAMS,
        text_count=[len(ids)] * STREAMS,
        text=[text] * STREAMS,
        ids=ids * STREAMS,
        lengths=lengths * STREAMS,
        opens=[] if turn else [Open(stream=number, policies=["base"]) for number in numbers],
        ends=[End(stream=number) for number in numbers] if last else [],
    ).SerializeToString()


def screen_figures(matcher: Matcher, policy: Policy, seconds: float) -> dict[str, float]:
    """CPU of whole texts, beside Hyperscan alone."""
    figures = {}
    alone = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    expressions = [e.node.forward.encode() for rule in matcher.pack.rules for e in rule.expressions]
    alone.compile(expressions=expressions, flags=[hyperscan.HS_FLAG_UTF8] * len(expressions))
    for language in ("en", "zh"):
        text = TEXTS[language] * (200_000 // len(TEXTS[language]))
        passages = [Passage("prompt", text)]
        data = text.encode()
        ours = microseconds(lambda one=passages: screen(policy, Direction.INPUT, one), seconds)
        raw = microseconds(lambda one=data: alone.scan(one, lambda *_: None), seconds)
        figures[f"us_for_200000_characters_{language}"] = ours
        figures[f"us_for_hyperscan_alone_{language}"] = raw
    chat = [Passage(f"messages[{number}].parts[0]", TEXTS["en"]) for number in range(4)]
    figures["us_for_4_messages_of_290_characters"] = microseconds(
        lambda: screen(policy, Direction.INPUT, chat, [range(4)]), seconds
    )
    return figures


def main() -> None:
    """Entry point."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    pack = load_pack((ROOT / "ops" / "policies" / "base.yaml").read_text())
    begun = time.process_time()
    matcher = compile_pack(pack)
    compiled = time.process_time() - begun
    policy = Policy([matcher])
    manifest = load_manifest(ROOT / "ops" / "models" / "smollm2-135m-instruct.yaml")
    vocabulary = vocabulary_of_gguf(read_metadata(find_weights(manifest)))
    figures = {
        "pack": pack.version,
        "compile_cpu_s": compiled,
        "window": window_figures(policy, vocabulary, seconds / 5),
        "frames": frame_figures(policy, vocabulary, seconds),
        "screening": screen_figures(matcher, policy, seconds / 3),
    }
    print(json.dumps(rounded(figures), indent=2))


def rounded(value: object) -> object:
    """Three digits are all that a shared machine can tell."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
