"""The platform as its clients see it: the unmodified `openai` client and gRPC, through the one port."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import openai

from ops.docker.verify.engine import VerifyError
from shared.contracts.freehold.api.v1 import api_pb2 as pb
from shared.contracts.freehold.api.v1.api_pb2_grpc import CompletionsStub

QUESTION = "Tell me a long story about a river."
UNBUFFERED = 0.5
"""A stream's first text is to be there in less than this part of the time of its whole."""


class Client:
    """One key, one address."""

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._key = key
        self._openai = openai.OpenAI(base_url=f"http://{address}/v1", api_key=key, max_retries=0)
        self.model = self._openai.models.list().data[0].id

    def plain(self) -> float:
        """Seconds of one short answer."""
        begin = time.monotonic()
        answer = self._openai.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": "Hello!"}], max_tokens=8
        )
        if not answer.usage or not answer.usage.completion_tokens:
            raise VerifyError(f"an answer without usage: {answer}")
        return time.monotonic() - begin

    def stream(self) -> dict[str, float]:
        """One stream over HTTP: chunks, seconds to the first and to the last."""
        return _checked("HTTP", self._stream(96))

    def _stream(self, tokens: int, question: str = QUESTION) -> list[float]:
        begin = time.monotonic()
        chunks = self._openai.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": question}],
            max_tokens=tokens,
            stream=True,
        )
        return [
            time.monotonic() - begin
            for chunk in chunks
            if any(choice.delta.content for choice in chunk.choices)
        ]

    def grpc_stream(self) -> dict[str, float]:
        """The same over gRPC."""
        asked = pb.CompleteRequest()
        asked.request.model, asked.request.max_output = self.model, 96
        asked.request.messages.add(role=3, parts=[QUESTION])
        begin = time.monotonic()
        with grpc.insecure_channel(self._address) as channel:
            answers = CompletionsStub(channel).Complete(
                asked, metadata=(("authorization", f"Bearer {self._key}"),), timeout=60
            )
            times = [time.monotonic() - begin for _ in answers]
        return _checked("gRPC", times)

    def load(self, requests: int, at_once: int) -> dict[str, Any]:
        """Many short streams, which must all be answered."""
        begin = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            # Unlike from the first word on: a worker that knows a prompt's beginning is given the prompt.
            questions = [f"{number}: {QUESTION}" for number in range(requests)]
            done = list(pool.map(lambda question: self._stream(24, question), questions))
        first = sorted(round(times[0], 3) for times in done)
        return {
            "requests": len(done),
            "seconds": round(time.monotonic() - begin, 2),
            "first_text_p50_s": first[len(first) // 2],
            "first_text_max_s": first[-1],
        }


def _checked(over: str, times: list[float]) -> dict[str, float]:
    if len(times) < 3 or times[0] > UNBUFFERED * times[-1]:
        raise VerifyError(
            f"a stream over {over} came at once, not token by token: {times[:3]} … {times[-1:]}"
        )
    return {"chunks": len(times), "first_s": round(times[0], 3), "last_s": round(times[-1], 3)}
