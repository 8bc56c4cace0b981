"""How long the Kafka adapter puts up with what, and how much may wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, unless said otherwise."""

    acknowledge: float = 2.0
    """Without an acknowledgement for so long a publisher is told `BusTimeout`."""
    stuck: float = 10.0
    """A record that the library holds for longer than this ends the producer's life."""
    waiting_records: int = 50_000
    """Records not acknowledged; beyond it `publish` raises `BusFull`."""
    waiting_bytes: int = 64 << 20
    """The same in bytes, of keys, values and headers."""
    request: float = 5.0
    """One request to a broker, connecting included."""
    ask: float = 5.0
    """A question about offsets, or a commit."""
    join: float = 30.0
    """Until a new reader has its partitions."""
    flush: float = 5.0
    """At the close: what was published may still be acknowledged."""
    stop: float = 2.0
    """A producer or consumer that ends has so long before it is abandoned."""
    session: float = 6.0
    heartbeat: float = 1.5
    rebalance: float = 15.0
    """A member may take so long to give up its partitions and come back."""
    revoke: float = 12.0
    """Of these, how long its callback may take."""
    fetch_wait: float = 0.5
    """How long a broker keeps a group member's fetch that finds nothing. After a rebalance the next fetch may
    have to wait behind it.
    """
    fetch_wait_alone: float = 2.0
    """The same of readers without a group, whose partitions never change."""
    silent: float = 10.0
    """Without an answer to a fetch for so long `poll` raises `BusError`, and the bus is not ready."""
    renew: float = 20.0
    """And after so long the consumer is made anew, from the bootstrap names on."""
    backoff: float = 0.1
    """First pause between attempts to reach the brokers; doubled until `backoff_most`."""
    backoff_most: float = 1.0
