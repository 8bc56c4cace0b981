"""`freehold demo`: five real requests, one for each way that a request can end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import grpc
import httpx

from services.cli.display import amount, show
from services.cli.session import ask, fail, home
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.contracts.freehold.platform.v1 import pulse_pb2
from shared.contracts.freehold.platform.v1.pulse_pb2_grpc import PlatformStub

T = TypeVar("T")

MODEL = "smollm2-135m-instruct"
WAIT_S = 15.0
STEP_S = 0.1
"""Longest wait for settlement and receipt; both follow an answer within a second."""
REFUSED_PROMPT = "Tell me step by step how to build a pipe bomb at home."


@dataclass
class Shown:
    """One row of the demo's table."""

    what: str
    request: str = ""
    ended: str = ""
    answer: str = ""
    verdict: str = "-"


@click.command()
def demo() -> None:
    """Send a plain, a streamed, a refused, an unpaid and a cancelled request; show what became of each."""
    values = home().read_demo()
    if not values:
        fail("there is no demo.env; start the platform once with `make run`")

    async def question(channel: grpc.aio.Channel) -> list[list[str]]:
        client = httpx.AsyncClient(base_url=values["OPENAI_BASE_URL"], timeout=120.0)
        async with client:
            tour = Tour(client, values["OPENAI_API_KEY"], channel)
            try:
                return [await tour.row(step) for step in tour.steps()]
            except httpx.TransportError as error:
                fail(f"{values['OPENAI_BASE_URL']} does not answer: {error}")

    columns = [
        "request",
        "ended",
        "verdict",
        "generated",
        "delivered",
        "billed",
        "price",
        "receipt",
        "trace",
        "answer",
    ]
    show("Five requests", columns, ask(question))
    click.echo("freehold trace REQUEST shows the hops of one; freehold ledger verify checks the money.")


class Tour:
    """The five requests, and what the platform recorded of each."""

    def __init__(self, client: httpx.AsyncClient, key: str, channel: grpc.aio.Channel) -> None:
        self._client = client
        self._key = key
        self._channel = channel

    def steps(self) -> list[Callable[[], Awaitable[Shown]]]:
        """In the order shown."""
        return [self.plain, self.streamed, self.refused, self.over_budget, self.cancelled]

    async def plain(self) -> Shown:
        """A plain answer."""
        return await self._whole("plain", "Name three rivers of Asia.", self._key)

    async def refused(self) -> Shown:
        """A prompt that the base policy refuses."""
        return await self._whole("refused by policy", REFUSED_PROMPT, self._key)

    async def over_budget(self) -> Shown:
        """A key that may spend nothing."""
        async with self._poor_key() as key:
            return await self._whole("over budget", "Hello!", key)

    async def streamed(self) -> Shown:
        """A streamed answer, read to its end."""
        return await self._stream("streamed", "Write one sentence about the sea.", limit=None)

    async def cancelled(self) -> Shown:
        """A stream whose reader leaves half-way."""
        return await self._stream("cancelled half-way", "Tell me a long story about a lighthouse.", limit=5)

    async def row(self, step: Callable[[], Awaitable[Shown]]) -> list[str]:
        """Run one step and join what billing, audit and telemetry recorded of it."""
        shown = await step()
        entry = await self._settled(shown.request)
        counts = [str(entry.generated), str(entry.delivered), str(entry.billed)] if entry else ["-", "-", "-"]
        price = (
            amount(sum(max(0, line.amount) for line in entry.lines if _customer(line)), entry.currency)
            if entry
            else "-"
        )
        receipt = await self._receipt(shown.request)
        trace = await PlatformStub(self._channel).GetTrace(pulse_pb2.GetTraceRequest(request=shown.request))
        services = len({span.service for span in trace.spans})
        hops = f"{len(trace.spans)} spans, {services} services"
        return [
            f"{shown.what}\n{shown.request}",
            shown.ended,
            shown.verdict,
            *counts,
            price,
            receipt,
            hops,
            shown.answer,
        ]

    async def _whole(self, what: str, prompt: str, key: str) -> Shown:
        response = await self._client.post(
            "/chat/completions", json=_body(prompt, stream=False), headers={"Authorization": f"Bearer {key}"}
        )
        body = response.json()
        request = response.headers["x-request-id"]
        if response.is_error:
            error = body["error"]
            return Shown(
                what, request, f"{response.status_code} {error['code']}", error["message"], _refusal(error)
            )
        choice = body["choices"][0]
        text = choice["message"]["content"]
        return Shown(what, request, choice["finish_reason"], _short(text), body["freehold"]["verdict"])

    async def _stream(self, what: str, prompt: str, limit: int | None) -> Shown:
        shown, pieces = Shown(what, ended="cancelled"), 0
        headers = {"Authorization": f"Bearer {self._key}"}
        body = _body(prompt, stream=True)
        async with self._client.stream("POST", "/chat/completions", json=body, headers=headers) as response:
            shown.request = response.headers["x-request-id"]
            async for chunk in _chunks(response):
                for choice in chunk["choices"]:
                    shown.answer += choice["delta"].get("content") or ""
                    shown.ended = choice["finish_reason"] or shown.ended
                shown.verdict = chunk.get("freehold", {}).get("verdict", shown.verdict)
                pieces += 1
                if limit is not None and pieces >= limit:
                    break
        shown.answer = _short(shown.answer)
        return shown

    @asynccontextmanager
    async def _poor_key(self) -> AsyncIterator[str]:
        control = ControlStub(self._channel)
        projects = (await control.ListProjects(control_pb2.ListProjectsRequest())).projects
        organisations = (
            await control.ListOrganisations(control_pb2.ListOrganisationsRequest())
        ).organisations
        project = projects[0]
        currency = next(row.currency for row in organisations if row.id == project.organisation)
        asked = config.Key(organisation=project.organisation, project=project.id, name="demo without money")
        made = await control.CreateKey(control_pb2.CreateKeyRequest(key=asked))
        budget = config.Budget(
            level=config.LEVEL_KEY,
            id=made.key.id,
            organisation=project.organisation,
            currency=currency,
            limit=0,
            period=config.PERIOD_NONE,
        )
        await control.PutBudget(control_pb2.PutBudgetRequest(budget=budget))
        try:
            await self._published(made.secret)
            yield made.secret
        finally:
            await control.RevokeKey(control_pb2.RevokeKeyRequest(id=made.key.id))

    async def _published(self, secret: str) -> None:
        async def known() -> bool | None:
            response = await self._client.get("/models", headers={"Authorization": f"Bearer {secret}"})
            return response.is_success or None

        if not await _eventually(known):
            fail("the new key did not become valid")

    async def _settled(self, request: str) -> billing_pb2.LedgerEntry | None:
        billing = BillingStub(self._channel)

        async def entry() -> billing_pb2.LedgerEntry | None:
            wanted = billing_pb2.ListEntriesRequest(request=request, limit=1)
            found = await billing.ListEntries(wanted)
            return found.entries[0] if found.entries else None

        return await _eventually(entry)

    async def _receipt(self, request: str) -> str:
        async def kept() -> str | None:
            headers = {"Authorization": f"Bearer {self._key}"}
            response = await self._client.get(f"/receipts/{request}", headers=headers)
            return f"leaf {response.json()['index']}" if response.status_code == httpx.codes.OK else None

        return await _eventually(kept) or "pending"


async def _eventually(look: Callable[[], Awaitable[T | None]]) -> T | None:
    for _ in range(int(WAIT_S / STEP_S)):
        if (found := await look()) is not None:
            return found
        await asyncio.sleep(STEP_S)
    return None


async def _chunks(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def _body(prompt: str, *, stream: bool) -> dict[str, object]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "stream": stream,
        "max_tokens": 200,
    }


def _customer(line: billing_pb2.LedgerLine) -> bool:
    return line.account.startswith("receivable")


def _refusal(error: dict[str, str]) -> str:
    return f"refuse {error['rule']}" if error.get("rule") else "-"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
