"""Which worker is chosen, from pulses, dispatches and ends."""

from services.edge.owner.seats import Need, Seats, prefix_key
from shared.contracts.freehold.platform.v1.pulse_pb2 import ServedModel, WorkerLoad


def load(
    slots: int = 2, free: int | None = None, cells: int = 1000, free_cells: int | None = None
) -> WorkerLoad:
    model = ServedModel(name="m", weights_digest="w", tokenizer_digest="t", context=100)
    return WorkerLoad(
        seat=4,
        models=[model],
        slots=slots,
        free_slots=slots if free is None else free,
        cells=cells,
        free_cells=cells if free_cells is None else free_cells,
    )


def need(cells: int = 100, prefix: bytes = b"", tokenizer: str = "t", slots: int = 1) -> Need:
    return Need("m", "w", tokenizer, slots, cells, prefix)


def chosen(seats: Seats, wanted: Need) -> int:
    seat = seats.choose(wanted)
    if seat is None:
        return 0
    seats.take(seat, wanted)
    return seat.incarnation


def test_slots_are_counted_between_pulses() -> None:
    seats = Seats()
    seats.hear(1, load(slots=2))
    assert [chosen(seats, need()) for _ in range(3)] == [1, 1, 0]
    seats.give_back(1, need())
    assert [chosen(seats, need()) for _ in range(2)] == [1, 0]


def test_every_choice_takes_a_slot() -> None:
    seats = Seats()
    seats.hear(1, load(slots=3))
    assert [chosen(seats, need(slots=2)) for _ in range(2)] == [1, 0]
    assert chosen(seats, need(slots=1)) == 1
    seats.give_back(1, need(slots=2))
    assert chosen(seats, need(slots=2)) == 1


def test_cells_are_counted_between_pulses() -> None:
    seats = Seats()
    seats.hear(1, load(slots=9, cells=250))
    assert [chosen(seats, need(100)) for _ in range(3)] == [1, 1, 0]
    assert chosen(seats, need(50)) == 1


def test_a_pulse_says_what_others_hold() -> None:
    seats = Seats()
    seats.hear(1, load(slots=2, free=0))
    assert chosen(seats, need()) == 0
    seats.hear(1, load(slots=2, free=1))
    assert [chosen(seats, need()) for _ in range(2)] == [1, 0]


def test_a_pulse_that_crossed_a_dispatch_does_not_make_room() -> None:
    seats = Seats()
    seats.hear(1, load(slots=1))
    assert chosen(seats, need()) == 1
    seats.hear(1, load(slots=1))
    assert chosen(seats, need()) == 0


def test_a_seat_that_rejected_has_no_room_until_its_next_pulse() -> None:
    seats = Seats()
    seats.hear(1, load())
    seats.reject(1)
    assert chosen(seats, need()) == 0
    seats.hear(1, load())
    assert chosen(seats, need()) == 1


def test_only_the_same_digests_serve() -> None:
    seats = Seats()
    seats.hear(1, load())
    assert chosen(seats, need(tokenizer="other")) == 0
    assert not seats.serving("m", "other")
    assert seats.serving("m", "w")
    assert seats.most_cells(need()) == 1000
    assert seats.most_cells(need(tokenizer="other")) == 0


def test_the_worker_that_had_the_prefix_is_preferred_while_it_has_room() -> None:
    seats = Seats()
    seats.hear(1, load(slots=3))
    seats.hear(2, load(slots=4))
    first = prefix_key(b"salt", range(40))
    assert chosen(seats, need(prefix=first)) == 2, "most free slots"
    seats.hear(1, load(slots=9))
    assert chosen(seats, need(prefix=first)) == 2
    assert chosen(seats, need(prefix=prefix_key(b"other tenant", range(40)))) == 1
    seats.hear(2, load(slots=4, free=0))
    assert chosen(seats, need(prefix=first)) == 1


def test_a_worker_that_is_gone_is_forgotten() -> None:
    seats = Seats()
    seats.hear(1, load())
    seats.hear(2, load())
    seats.keep([2])
    assert len(seats) == 1
    assert chosen(seats, need()) == 2
    seats.give_back(1, need())
    seats.reject(1)


def test_a_quiet_worker_gets_what_no_other_takes_until_it_pulses_again() -> None:
    seats = Seats()
    seats.hear(1, load(slots=9))
    seats.hear(2, load(slots=1))
    seats.keep([1, 2], quiet=[1])
    assert [chosen(seats, need()) for _ in range(2)] == [2, 1]
    seats.hear(1, load(slots=9))
    seats.hear(2, load(slots=1))
    assert chosen(seats, need()) == 1


def test_room_can_be_kept_on_one_worker_for_one_request() -> None:
    seats = Seats()
    seats.hear(1, load(slots=4, cells=400, free_cells=300))
    seats.hear(2, load(slots=4, cells=400, free_cells=100))
    large, small = need(400), need(50)
    seats.claim(large, "large")
    seats.claim(large, "another")
    assert seats.choose(large, "large") is None
    assert [chosen(seats, small) for _ in range(3)] == [2, 2, 0], "what is kept is not given to others"
    seats.hear(1, load(slots=4, cells=400))
    assert (found := seats.choose(large, "large")) is not None
    assert found.incarnation == 1
    seats.unclaim("large")
    assert chosen(seats, small) == 1


def test_what_is_free_is_counted_over_all_workers_of_a_model() -> None:
    seats = Seats()
    seats.hear(1, load(slots=4, cells=400, free_cells=300))
    seats.hear(2, load(slots=4, free=1, cells=400, free_cells=100))
    assert seats.free("m", "w") == (5, 400)
    assert seats.free("other", "w") == (0, 0)
