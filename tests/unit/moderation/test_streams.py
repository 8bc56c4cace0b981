from collections.abc import Sequence

import pytest

from services.moderation.output.streams import FrameError, Streams, check_frame
from services.moderation.policy import PolicyUnknown
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform

A, B = b"a" * 16, b"b" * 16


class Outcomes:
    def __init__(self):
        self.ends = []
        self.breaks = []

    def ended(self, request, stream):
        self.ends.append((request, stream.attempt, stream.window.verdict.action.name))

    def broken(self, request, stream, reason):
        self.breaks.append((request, reason))


@pytest.fixture
def outcomes():
    return Outcomes()


@pytest.fixture
def streams(small_policy, outcomes):
    def find(policies):
        if "unknown" in policies:
            raise PolicyUnknown("policy unknown is not published")
        return small_policy

    return Streams(find, outcomes, 30.0)


def frame(
    *table: tuple[bytes, int],
    opens: Sequence[tuple[int, int]] = (),
    texts: Sequence[tuple[int, int, list[str]]] = (),
    ends: Sequence[int] = (),
    policies: Sequence[str] = ("small",),
    context: str = "",
) -> Frame:
    """A frame of streams (request, attempt), choice 0; ids are their own indices."""
    made = Frame(
        request=[request for request, _ in table],
        attempt=[attempt for _, attempt in table],
        choice=[0] * len(table),
        text_stream=[number for number, _, _ in texts],
        text_index=[index for _, index, _ in texts],
        text_count=[len(pieces) for _, _, pieces in texts],
        text=["".join(pieces) for _, _, pieces in texts],
        ids=[index + place for _, index, pieces in texts for place in range(len(pieces))],
        lengths=[len(piece) for _, _, pieces in texts for piece in pieces],
        opens=[Open(stream=n, policies=policies, next_index=index, context=context) for n, index in opens],
        ends=[End(stream=number, reason=platform.FINISH_REASON_STOP, generated=9) for number in ends],
    )
    check_frame(made)
    return made


def shown(vetted: VettedFrame | None) -> dict[bytes, tuple[int, str]]:
    """By request: index of the first id, and the text."""
    if vetted is None:
        return {}
    columns = vetted.frame
    return {
        columns.request[number]: (index, text)
        for number, index, text in zip(columns.text_stream, columns.text_index, columns.text, strict=True)
    }


def test_streams_of_one_frame_are_kept_apart(streams):
    first = streams.vet(
        frame((A, 1), (B, 1), opens=[(0, 0), (1, 0)], texts=[(0, 0, ["hi, ", "bo"]), (1, 0, ["so. "])]), 0
    )
    assert shown(first) == {A: (0, "hi, "), B: (0, "so. ")}
    second = streams.vet(frame((B, 1), (A, 1), texts=[(0, 1, ["mb "]), (1, 2, ["y. "])]), 0)
    assert shown(second) == {B: (1, "mb "), A: (1, "boy. ")}
    assert list(second.frame.ids) == [1, 1, 2]
    assert list(second.frame.lengths) == [3, 2, 3]
    assert not second.frame.opens


def test_nothing_is_answered_where_nothing_is_released(streams):
    assert streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["bo"])]), 0) is None


def test_an_end_brings_the_rest_and_the_verdict(streams, outcomes):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["the ", "budget", " of ", "pipe "])]), 1.0)
    ended = streams.vet(frame((A, 1), ends=[0]), 1.25)
    assert shown(ended) == {A: (3, "pipe ")}
    (end,), (verdict,) = ended.frame.ends, ended.verdicts
    assert (end.generated, end.reason) == (9, platform.FINISH_REASON_STOP)
    assert verdict.verdict == platform.VERDICT_FLAG
    assert [match.rule for match in verdict.matches] == ["remark"]
    assert (verdict.held_tokens, verdict.held_ms) == (1, 250)
    assert verdict.policy_versions[0].startswith("small@1+")
    assert outcomes.ends == [(A, 1, "FLAG")]
    assert len(streams) == 0


def test_a_refusal_ends_the_stream_and_what_follows_is_passed_over(streams, outcomes):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "bo"])]), 0)
    refused = streams.vet(frame((A, 1), texts=[(0, 2, ["mb", " x"])]), 0)
    assert shown(refused) == {}
    (refusal,) = refused.refused
    assert refusal.match.rule == "word"
    assert refusal.match.direction == platform.DIRECTION_OUTPUT
    assert outcomes.ends == [(A, 1, "REFUSE")]
    assert streams.vet(frame((A, 1), texts=[(0, 4, ["more "])], ends=[0]), 0) is None


def test_a_refusal_at_the_end_takes_the_place_of_the_end(streams):
    answer = streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "bomb"])], ends=[0]), 0)
    assert shown(answer) == {A: (0, "a ")}
    assert not answer.frame.ends
    assert [refusal.match.rule for refusal in answer.refused] == ["word"]


def test_the_same_frame_twice_has_one_effect(streams):
    again = frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "b. ", "pi"])])
    assert shown(streams.vet(again, 0)) == {A: (0, "a b. ")}
    assert streams.vet(again, 0) is None
    overlapping = frame((A, 1), texts=[(0, 1, ["b. ", "pi", "e. "])])
    assert shown(streams.vet(overlapping, 0)) == {A: (2, "pie. ")}
    end = frame((A, 1), ends=[0])
    assert streams.vet(end, 0).frame.ends
    assert streams.vet(end, 0) is None


def test_a_gap_breaks_the_stream(streams, outcomes):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])]), 0)
    answer = streams.vet(frame((A, 1), texts=[(0, 2, ["c "])]), 0)
    assert [broken.reason for broken in answer.broken] == ["ids are missing"]
    assert shown(answer) == {}
    assert outcomes.breaks == [(A, "ids are missing")]
    assert streams.vet(frame((A, 1), texts=[(0, 3, ["d "])]), 0) is None


def test_a_stream_whose_beginning_was_not_seen_is_broken(streams):
    answer = streams.vet(frame((A, 1), texts=[(0, 7, ["c "])]), 0)
    assert len(answer.broken) == 1
    assert shown(answer) == {}


def test_a_stream_may_begin_at_any_open(streams):
    answer = streams.vet(frame((A, 1), opens=[(0, 7)], texts=[(0, 7, ["omb. "])], context="some text cl"), 0)
    assert shown(answer) == {A: (7, "omb. ")}
    caught = streams.vet(frame((B, 1), opens=[(0, 7)], texts=[(0, 7, ["omb. "])], context="some text b"), 0)
    assert [refusal.match.rule for refusal in caught.refused] == ["word"]


def test_an_open_that_comes_again_changes_nothing(streams):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "bo"])]), 0)
    streams.vet(frame((A, 1), opens=[(0, 2)], context="a bo"), 10)
    answer = streams.vet(frame((A, 1), texts=[(0, 2, ["y. "])]), 10)
    assert shown(answer) == {A: (1, "boy. ")}


def test_an_unknown_policy_lets_nothing_out(streams):
    answer = streams.vet(
        frame((A, 1), (B, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])], ends=[0], policies=["unknown"]), 0
    )
    assert shown(answer) == {}
    assert [broken.reason for broken in answer.broken] == ["policy unknown is not published"]
    assert not answer.frame.ends


def test_a_higher_attempt_drops_the_lower(streams):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "bo"])]), 0)
    streams.vet(frame((A, 2), opens=[(0, 1)], texts=[(0, 1, ["c"])], context="a "), 0)
    assert streams.vet(frame((A, 1), texts=[(0, 2, ["late. "])], ends=[0]), 0) is None
    assert streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])]), 0) is None
    assert shown(streams.vet(frame((A, 2), texts=[(0, 2, ["d. "])]), 0)) == {A: (1, "cd. ")}


def test_what_is_idle_is_forgotten(streams):
    streams.vet(frame((A, 1), (B, 1), opens=[(0, 0), (1, 0)], texts=[(0, 0, ["a "])]), 0)
    streams.vet(frame((B, 1), texts=[(0, 0, ["a "])]), 20)
    streams.forget_idle(31)
    assert len(streams) == 1
    assert streams.vet(frame((A, 1), texts=[(0, 1, ["b "])]), 31).broken
    streams.forget_idle(100)
    assert len(streams) == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"attempt": []},
        {"text": ["x"]},
        {"ids": [1]},
        {"text_count": [2], "text": ["x"], "text_stream": [0], "text_index": [0], "ids": [1], "lengths": [1]},
        {"text_count": [0], "text": [""], "text_stream": [1], "text_index": [0]},
        {"opens": [Open(stream=1)]},
        {"ends": [End(stream=5)]},
    ],
)
def test_columns_that_do_not_fit_are_refused(columns):
    whole = {"request": [A], "attempt": [1], "choice": [0]}
    check_frame(Frame(**whole))
    with pytest.raises(FrameError):
        check_frame(Frame(**{**whole, **columns}))


def test_lengths_that_do_not_add_up_break_the_stream(streams):
    made = frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["abc "])])
    made.lengths[0] = 9
    assert streams.vet(made, 0).broken
