"""Records as a stranger on the bus may write them: made from what the services write themselves."""

from __future__ import annotations

import random
from collections.abc import Sequence

from google.protobuf.message import DecodeError, Message

from shared.bus.ports import Record
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved, RequestSettled
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.inference.v1 import events_pb2 as inference
from shared.contracts.freehold.inference.v1.frame_pb2 import Frame
from shared.contracts.freehold.moderation.v1 import events_pb2 as moderation
from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestFailed, RequestRefused
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse
from shared.contracts.freehold.tokenizer.v1.events_pb2 import Encoded
from tests.fuzz.embedded import Foreign
from tests.fuzz.mutations import another_request, damaged, headers, twisted

TYPES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.name: kind
    for kind in (
        edge.RequestAccepted,
        edge.PromptRedacted,
        edge.ReserveBudget,
        edge.GenerateTokens,
        edge.CancelGeneration,
        edge.RequestClosed,
        inference.UsageRecorded,
        inference.WorkAccepted,
        inference.WorkRejected,
        inference.WorkFailed,
        inference.Running,
        moderation.Screened,
        moderation.VettedFrame,
        Encoded,
        BudgetReserved,
        RequestSettled,
        RequestFailed,
        RequestRefused,
        Frame,
        Pulse,
    )
}


def foreign(chance: random.Random, traffic: Sequence[Record], partitions: dict[str, int]) -> Foreign:
    """One record: a genuine one's topic, headers and value, each perhaps changed.

    A pulse is never one that can be read: who may write pulses may say that a service is not there.
    """
    seed = chance.choice(traffic)
    topic = seed.topic if chance.random() < 0.85 else chance.choice(sorted(partitions))
    given = headers(chance, seed.headers) if chance.random() < 0.6 else seed.headers
    if chance.random() < 0.5:
        given = another_request(chance, given)
    number = seed.partition if chance.random() < 0.85 else chance.randrange(partitions[topic])
    value = b"\xff" + chance.randbytes(9) if topic == "pulses" else _value(chance, seed, traffic)
    return Foreign(topic, number % partitions[topic], value, given, seed.key)


def _value(chance: random.Random, seed: Record, traffic: Sequence[Record]) -> bytes:
    match chance.randrange(8):
        case 0:
            return chance.randbytes(chance.randint(0, 200))
        case 1:
            return chance.choice(traffic).value
        case 2 | 3:
            return damaged(chance, seed.value)
        case 4:
            return seed.value
        case _:
            return _twisted(chance, seed)


def _twisted(chance: random.Random, seed: Record) -> bytes:
    kind = TYPES.get(dict(seed.headers).get("type", b"").decode("latin-1"))
    if kind is None:
        return seed.value
    try:
        return twisted(chance, kind.FromString(seed.value)).SerializeToString()
    except DecodeError:
        return seed.value
