"""Too many connections: those that are only held give way."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.edge.answer import Answer, Submission
from tests.integration.edge_front import CHAT, DONE, running_edge, say
from tests.integration.edge_wire import ask, post, wire


@pytest.mark.attack(12)
async def test_connections_that_are_only_held_keep_nobody_out() -> None:
    """Neither idle ones nor heads that do not end; one that is being answered stays."""
    begun = asyncio.Event()

    def wait(_: Answer, __: Submission) -> None:
        begun.set()

    async with contextlib.AsyncExitStack() as stack, running_edge(max_connections=8) as edge:
        held = [await stack.enter_async_context(wire(edge)) for _ in range(7)]
        for line in held[:4]:
            await line.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        edge.owner.play = wait
        waiting = await stack.enter_async_context(wire(edge))
        await waiting.send(post(CHAT))
        await begun.wait()
        edge.owner.play = say("hello")
        for _ in range(200):
            reply, _ = await ask(edge, post(CHAT))
            if reply.status != 429:
                break
            await asyncio.sleep(0.05)
        assert reply.status == 200
        edge.owner.answers[0].finish(DONE)
        assert (await waiting.reply()).status == 200
