"""Transit records that came too late to matter, by the broker's time alone."""

from __future__ import annotations

from collections.abc import Mapping

from shared.bus.ports import Record, TopicPartition


class Staleness:
    """A record's age is the newest broker time that this reader has seen, less the record's own: so
    no clock but the broker's counts, and an idle topic never ages.
    """

    def __init__(self) -> None:
        self._newest_ms = 0

    def read(self, polled: Mapping[TopicPartition, list[Record]]) -> None:
        """These were read."""
        for records in polled.values():
            self._newest_ms = max(self._newest_ms, records[-1].timestamp_ms)

    def fresh(self, records: list[Record]) -> list[Record]:
        """Those whose age is within their `ttl_ms`; records without one never age."""
        if records[0].timestamp_ms >= self._newest_ms:
            return records
        return [record for record in records if not self._stale(record)]

    def _stale(self, record: Record) -> bool:
        for name, content in record.headers:
            if name == "ttl_ms":
                # What is no number is left to the handler, which answers for the whole envelope.
                return content.isdigit() and self._newest_ms - record.timestamp_ms > int(content)
        return False
