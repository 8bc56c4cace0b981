"""What a reader holds: its partitions, and the records that were fetched and not yet polled.

Pausing a partition stops its records here, not the fetching of it: the brokers are asked for all
partitions of a reader in one long request, and a partition that is left out of it waits for its end.
Only where much of one partition lies here it is fetched no longer, until half of it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from shared.bus.ports import Record, TopicPartition

MOST_RECORDS = 4000
MOST_BYTES = 4 << 20


class Shelf:
    """Positions and buffers. `fetching` is told to stop (True) or to go on with a partition."""

    def __init__(self, pause_fetching: Callable[[TopicPartition, bool], None]) -> None:
        self.positions: dict[TopicPartition, int] = {}
        """Next offset that will be taken, of each partition held."""
        self._pause_fetching = pause_fetching
        self._records: dict[TopicPartition, list[Record]] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._frozen: set[TopicPartition] = set()
        self._full: set[TopicPartition] = set()
        self._ready: dict[TopicPartition, None] = {}

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ready)

    def waiting(self, place: TopicPartition) -> bool:
        """Whether records of the partition lie here, or it is not fetched because they did."""
        return place in self._records or place in self._full

    def put(self, fetched: Mapping[TopicPartition, list[Record]]) -> None:
        """Records have come; those of partitions that are not held are dropped."""
        for place, records in fetched.items():
            if place not in self.positions:
                continue
            held = self._records.setdefault(place, [])
            held += records
            taken = self._bytes.get(place, 0) + sum(len(record.value) for record in records)
            self._bytes[place] = taken
            if (len(held) > MOST_RECORDS or taken > MOST_BYTES) and place not in self._full:
                self._full.add(place)
                self._pause_fetching(place, True)
            self._look(place)

    def take(self, limit: int) -> dict[TopicPartition, list[Record]]:
        """At most so many records, of each partition in turn."""
        found: dict[TopicPartition, list[Record]] = {}
        for place in tuple(self._ready):
            if limit <= 0:
                break
            del self._ready[place]
            held = self._records[place]
            records = held[:limit]
            if len(records) == len(held):
                self._clear(place)
            else:
                del held[:limit]
                self._bytes[place] -= sum(len(record.value) for record in records)
                self._ready[place] = None  # behind the others: each gets its turn
            self._relieve(place)
            limit -= len(records)
            self.positions[place] = records[-1].offset + 1
            found[place] = records
        return found

    def pause(self, places: Iterable[TopicPartition]) -> None:
        """Give nothing of these until they are resumed."""
        for place in places:
            self._paused.add(place)
            self._ready.pop(place, None)

    def resume(self, places: Iterable[TopicPartition]) -> None:
        """Undo `pause`."""
        for place in places:
            self._paused.discard(place)
            self._look(place)

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Forget what was fetched of the partition: something else is wanted."""
        self._clear(place)
        self.positions[place] = offset
        self._relieve(place)

    def give(self, positions: Mapping[TopicPartition, int]) -> None:
        """These are held from now on."""
        for place, offset in positions.items():
            self._frozen.discard(place)
            self._clear(place)
            self.positions[place] = offset

    def freeze(self, places: Iterable[TopicPartition]) -> None:
        """Give nothing of these: they are about to be lost."""
        for place in places:
            self._frozen.add(place)
            self._ready.pop(place, None)

    def lose(self, places: Iterable[TopicPartition]) -> None:
        """These are no longer held."""
        for place in list(places):
            self.positions.pop(place, None)
            self._clear(place)
            for marked in (self._paused, self._frozen, self._full):
                marked.discard(place)

    def _look(self, place: TopicPartition) -> None:
        if place in self._records and place not in self._paused and place not in self._frozen:
            self._ready[place] = None

    def _clear(self, place: TopicPartition) -> None:
        self._records.pop(place, None)
        self._bytes.pop(place, None)
        self._ready.pop(place, None)

    def _relieve(self, place: TopicPartition) -> None:
        if place not in self._full:
            return
        if (
            len(self._records.get(place, ())) * 2 <= MOST_RECORDS
            and self._bytes.get(place, 0) * 2 <= MOST_BYTES
        ):
            self._full.discard(place)
            self._pause_fetching(place, False)
