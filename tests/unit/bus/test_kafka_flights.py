"""A second request to a broker does not wait for the answer to the first; a third does."""

from __future__ import annotations

from shared.bus.kafka_sending import IN_FLIGHT, Flights


def test_each_broker_has_so_many_requests_and_no_more() -> None:
    flights = Flights()
    for _ in range(IN_FLIGHT):
        assert 1 not in flights
        flights.add(1)
    assert 1 in flights
    assert 2 not in flights
    assert flights  # an empty container would be taken for no rule at all
    flights.remove(1)
    assert 1 not in flights
