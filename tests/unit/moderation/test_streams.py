import pytest

from services.moderation.output.stream import Read
from services.moderation.output.streams import FrameError, Streams, check_frame
from services.moderation.policy import PolicyUnknown
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform
from tests.unit.moderation.lanes import A, B, Outcomes, frame, shown


@pytest.fixture
def outcomes():
    return Outcomes()


class Lane(Streams):
    """Streams of a log that has a record for each call, at the time of the call in seconds."""

    def __init__(self, find, outcomes):
        super().__init__(find, outcomes, 30.0)
        self.end = 0

    def vet(self, frame, now):
        self.end += 1
        return super().vet(frame, Read(self.end - 1, round(now * 1000)), now)


@pytest.fixture
def streams(small_policy, outcomes):
    def find(policies):
        if "unknown" in policies:
            raise PolicyUnknown("policy unknown is not published")
        return small_policy

    return Lane(find, outcomes)


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


def test_text_of_an_unknown_stream_is_passed_over_until_it_must_have_been_opened(streams, outcomes):
    for now, index in ((0, 7), (10, 8), (14.9, 9)):
        assert streams.vet(frame((A, 1), texts=[(0, index, ["c "])]), now) is None
    answer = streams.vet(frame((A, 1), texts=[(0, 10, ["d "])]), 15)
    assert [broken.reason for broken in answer.broken] == ["its beginning was not seen"]
    assert shown(answer) == {}
    assert outcomes.breaks == [(A, "its beginning was not seen")]
    assert streams.vet(frame((A, 1), texts=[(0, 11, ["e "])], ends=[0]), 16) is None


def test_a_stream_that_was_passed_over_begins_at_its_open(streams, outcomes):
    assert streams.vet(frame((A, 1), texts=[(0, 5, ["x "])]), 0) is None
    answer = streams.vet(frame((A, 1), opens=[(0, 6)], texts=[(0, 6, ["y. "])], context="x "), 9)
    assert shown(answer) == {A: (6, "y. ")}
    assert shown(streams.vet(frame((A, 1), texts=[(0, 7, ["z. "])]), 40)) == {A: (7, "z. ")}
    assert outcomes.breaks == []


def test_what_is_over_before_the_lane_was_read_has_no_end_here(streams, outcomes):
    assert streams.vet(frame((A, 1), texts=[(0, 5, ["x "])], ends=[0]), 0) is None
    assert (outcomes.ends, outcomes.breaks) == ([], [])


def test_an_open_behind_a_gap_breaks_the_stream(streams):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])]), 0)
    answer = streams.vet(frame((A, 1), opens=[(0, 2)], context="a b "), 10)
    assert [broken.reason for broken in answer.broken] == ["ids are missing"]


def test_a_verdict_is_told_when_it_grows(streams):
    first = streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["the ", "budget", " is"])]), 0)
    (verdict,) = first.verdicts
    assert (verdict.verdict, [match.rule for match in verdict.matches]) == (platform.VERDICT_FLAG, ["remark"])
    assert not streams.vet(frame((A, 1), texts=[(0, 3, [" a", " budget", " yes. "])]), 1).verdicts


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
    streams.vet(frame((B, 1), texts=[(0, 0, ["a "])]), 31)
    for _ in range(2):
        streams.forget_idle()
    assert len(streams) == 1
    assert streams.vet(frame((A, 1), texts=[(0, 1, ["b "])]), 31).broken
    streams.vet(frame((B, 2)), 100)
    for _ in range(2):
        streams.forget_idle()
    assert len(streams) == 0


def test_a_lane_that_stood_still_forgets_nothing(streams):
    streams.vet(frame((A, 1), (B, 1), opens=[(0, 0), (1, 0)], texts=[(0, 0, ["a "])]), 0)
    streams.forget_idle()
    streams.vet(frame((A, 1), texts=[(0, 1, ["b. "])]), 60)  # the broker was away: B's frame comes behind it
    streams.forget_idle()
    assert shown(streams.vet(frame((B, 1), texts=[(0, 0, ["c. "])]), 60.1)) == {B: (0, "c. ")}
    streams.forget_idle()
    assert len(streams) == 2


def test_a_successor_begins_behind_every_stream_that_is_not_over(streams):
    assert streams.back_to(7) == 7
    streams.vet(frame((B, 1), opens=[(0, 0)], texts=[(0, 0, ["so. "])]), 0)
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "pi"])]), 1)
    streams.settle()
    assert streams.back_to(2) == 0
    streams.vet(frame((B, 1), ends=[0]), 2)
    assert streams.back_to(2) == 0, "its end is not acknowledged"
    streams.settle()
    assert streams.back_to(3) == 1
    streams.vet(frame((A, 1), opens=[(0, 2)], texts=[(0, 2, ["pe"])], context="a pi"), 11)
    streams.settle()
    assert streams.back_to(4) == 1, "text before the second Open is still held"
    streams.vet(frame((A, 1), texts=[(0, 3, ["r. "])]), 12)
    assert streams.back_to(4) == 1, "it is released, and not acknowledged"
    streams.settle()
    assert streams.back_to(5) == 3


def test_an_open_is_no_beginning_before_what_ends_at_it_is_decided(streams):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "budget"])]), 0)
    streams.vet(frame((A, 1), opens=[(0, 2)], texts=[(0, 2, ["\u200b"])], context="a budget"), 10)
    streams.settle()
    assert streams.back_to(2) == 0
    streams.vet(frame((A, 1), texts=[(0, 3, [" is. "])]), 11)
    streams.settle()
    assert streams.back_to(3) == 1


def test_a_refusal_holds_the_lane_until_it_is_acknowledged(streams):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "bo"])]), 0)
    streams.settle()
    streams.vet(frame((A, 1), texts=[(0, 2, ["mb", " x"])]), 1)
    assert streams.back_to(2) == 0
    streams.settle()
    assert streams.back_to(2) == 2


def test_a_stream_that_needs_more_than_thirty_seconds_is_not_waited_for(streams):
    streams.vet(frame((A, 1), opens=[(0, 0)], texts=[(0, 0, ["a ", "pi"])]), 0)
    streams.vet(frame((B, 1), opens=[(0, 0)], texts=[(0, 0, ["a "])]), 30)
    streams.settle()
    streams.forget_idle()
    assert streams.back_to(2) == 1


def test_a_lane_that_stood_still_lets_go_of_nothing(streams):
    streams.vet(frame((A, 1), (B, 1), opens=[(0, 0), (1, 0)], texts=[(0, 0, ["a "])]), 0)
    streams.settle()
    streams.forget_idle()
    streams.vet(frame((A, 1), opens=[(0, 1)], texts=[(0, 1, ["b. "])]), 60)
    streams.settle()
    assert streams.back_to(2) == 0


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
