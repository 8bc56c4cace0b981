"""The watermark is the highest contiguous finished offset, in whatever order batches finish."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.watermark import Span, Watermark


@given(
    start=st.integers(0, 1000),
    sizes=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=30),
    data=st.data(),
)
def test_it_is_the_end_of_the_longest_finished_prefix(
    start: int, sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    mark, offset = Watermark(), start
    spans: list[tuple[Span, int]] = []
    waiting = list(sizes)
    finished: set[int] = set()
    unfinished: list[int] = []
    while waiting or unfinished:
        if waiting and (not unfinished or data.draw(st.booleans())):
            size, gap = waiting.pop(0)  # compaction and retention leave gaps between records
            first = offset + (gap if spans else 0)
            offset = first + size
            unfinished.append(len(spans))
            spans.append((mark.begin(first, offset), offset))
        else:
            chosen = unfinished.pop(data.draw(st.integers(0, len(unfinished) - 1)))
            mark.finish(spans[chosen][0])
            finished.add(chosen)
        prefix = next((number for number in range(len(spans)) if number not in finished), len(spans))
        assert mark.position == (spans[prefix - 1][1] if prefix else start)
        assert mark.idle == (not unfinished)


def test_nothing_is_to_be_committed_before_something_is_finished() -> None:
    mark = Watermark()
    assert (mark.position, mark.committed, mark.idle) == (-1, -1, True)
    mark.begin(7, 9)
    assert mark.position == mark.committed == 7
