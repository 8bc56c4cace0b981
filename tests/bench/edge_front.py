"""What the edge's front costs: the HTTP half with an owner that answers at once, beside the anchors.

    python -m tests.bench.edge_front

Server and client are two processes; the figure is the server's CPU time, which is steadier than latency.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from itertools import islice

import uvicorn
import uvloop

from services.edge.answer import Answer, Piece, Submission
from tests.bench.anchors import CHUNKS, application
from tests.bench.load import closed_loop, post
from tests.integration.edge_front import DONE, KEY, MODEL, running_edge

ROUNDS = 3
REQUESTS = 6000
STREAMS = 600
GROUP = 4
"""Pieces that are ready together in the streamed case."""
TICK = os.sysconf("SC_CLK_TCK")

BODY = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant.\nBe short. " * 8},
        {"role": "user", "content": "What is the capital of France, and why? " * 8},
        {"role": "assistant", "content": "Paris. " * 20},
        {"role": "user", "content": [{"type": "text", "text": "And of Spain? " * 15}]},
    ],
    "temperature": 0.7,
    "max_tokens": 64,
    "stop": ["\n\n"],
}


def play(answer: Answer, submission: Submission) -> None:
    """A plain answer at once; a streamed one in groups, one a turn of the loop."""
    if not submission.streamed:
        answer.put(Piece(0, " token" * 16, 16))
        answer.finish(DONE)
        return
    pieces = iter([Piece(0, " token", 1)] * CHUNKS)
    loop = asyncio.get_running_loop()

    def some() -> None:
        group = list(islice(pieces, GROUP))
        for piece in group:
            answer.put(piece)
        if group:
            loop.call_soon(some)
        else:
            answer.finish(DONE)

    some()


async def serve() -> None:
    """Both servers in one process; their ports on standard output, until standard input closes."""
    anchors = uvicorn.Server(
        uvicorn.Config(application(), log_level="error", lifespan="off", http="httptools", ws="none")
    )
    listening = socket.create_server(("127.0.0.1", 0))
    running = asyncio.ensure_future(anchors.serve([listening]))
    async with running_edge() as edge:
        edge.owner.play, edge.owner.keep = play, False
        anchor = listening.getsockname()[1]
        print(json.dumps({"edge": edge.service.http_port, "anchor": anchor}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    anchors.should_exit = True
    await running


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - not a file of ours
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def cost(pid: int, port: int, request: bytes, connections: int, count: int) -> dict[str, float]:
    """Best of a few rounds: server CPU of one request in microseconds, and the client's view."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        begin = cpu_seconds(pid)
        figures = await closed_loop(port, request, connections, count=count)
        spent = (cpu_seconds(pid) - begin) / count * 1e6
        if not best or spent < best["cpu_us"]:
            best = {"cpu_us": round(spent, 1), **figures.summary()}
    return best


async def measure(pid: int, ports: dict[str, int]) -> dict[str, object]:
    """All cases, in one run."""
    plain = json.dumps(BODY).encode()
    streamed = json.dumps({**BODY, "stream": True}).encode()
    chat = "/v1/chat/completions"
    empty = await cost(pid, ports["anchor"], post("/empty", plain), 16, REQUESTS)
    front = await cost(pid, ports["edge"], post(chat, plain, KEY), 16, REQUESTS)
    bare = await cost(pid, ports["anchor"], post("/chunks", streamed), 64, STREAMS)
    events = await cost(pid, ports["edge"], post(chat, streamed, KEY), 64, STREAMS)
    return {
        "body_bytes": len(plain),
        "empty FastAPI route, c=16": empty,
        "front, plain, c=16": front,
        "ratio of CPU": round(front["cpu_us"] / empty["cpu_us"], 2),
        f"bare sends, {CHUNKS} chunks, c=64": bare | {"us_per_chunk": round(bare["cpu_us"] / CHUNKS, 2)},
        f"front, streamed, {CHUNKS} tokens in groups of {GROUP}, c=64": events
        | {"us_per_token": round(events["cpu_us"] / CHUNKS, 2)},
        "ratio of streamed CPU": round(events["cpu_us"] / bare["cpu_us"], 2),
    }


def main() -> None:
    """Start the server, measure, print JSON."""
    command = [sys.executable, "-m", "tests.bench.edge_front", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            ports = json.loads(server.stdout.readline())
            print(json.dumps(uvloop.run(measure(server.pid, ports)), indent=1))
        finally:
            with contextlib.suppress(BrokenPipeError):
                server.stdin.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        uvloop.run(serve())
    else:
        main()
