"""Lanes and seats: small numbers that a process claims from control. They are addresses, not locks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import grpc

from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1 import control_pb2_grpc
from shared.host import Host
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

RENEW_S = 10.0
TIMEOUT_S = 5.0
BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0


class Numbers(Protocol):
    """Gives a process the numbers that others address it by."""

    async def claim(self, kind: pb.NumberKind, count: int, incarnation: int) -> list[int]:
        """Return `count` numbers, or fewer where there are no more; they stay the process's own as long
        as it lives, as far as anybody can promise. Waits while control cannot be reached.
        """


class FixedNumbers:
    """Numbers that a setting names, all of them at once."""

    def __init__(self, lanes: Sequence[int] = (), seats: Sequence[int] = ()) -> None:
        self._numbers = {pb.NUMBER_KIND_LANE: list(lanes), pb.NUMBER_KIND_SEAT: list(seats)}

    async def claim(self, kind: pb.NumberKind, count: int, incarnation: int) -> list[int]:
        """See `Numbers.claim`; `count` does not bound what a setting names."""
        del count, incarnation
        return list(self._numbers[kind])


class ControlNumbers:
    """`Control.ClaimNumbers`, renewed every 10 s. Where control cannot be reached, the numbers are kept."""

    def __init__(self, channel: grpc.aio.Channel, host: Host) -> None:
        self._stub = control_pb2_grpc.ControlStub(channel)
        self._clock = host.clock
        self._tasks = Tasks("numbers")
        self._silent = False

    async def claim(self, kind: pb.NumberKind, count: int, incarnation: int) -> list[int]:
        """See `Numbers.claim`."""
        asked = pb.ClaimNumbersRequest(kind=kind, count=count, incarnation=incarnation)
        backoff = BACKOFF_S
        while not (numbers := await self._ask(asked)):
            await self._clock.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_S)
        self._tasks.spawn(self._renew(asked), f"renew.{kind}")
        return numbers

    async def close(self) -> None:
        """Renew no more; the numbers fall free after control's own time."""
        await self._tasks.cancel()

    async def _renew(self, asked: pb.ClaimNumbersRequest) -> None:
        while True:
            await self._clock.sleep(RENEW_S)
            await self._ask(asked)

    async def _ask(self, asked: pb.ClaimNumbersRequest) -> list[int]:
        try:
            answer = await self._stub.ClaimNumbers(asked, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if not self._silent:
                log.warning("control gives no numbers: %s %s", error.code().name, error.details())
            self._silent = True
            return []
        if self._silent:
            log.info("control gives numbers again")
        self._silent = False
        return list(answer.numbers)
