"""`freehold demo`: five real requests, and a table of what became of each."""

from __future__ import annotations

import click
import grpc
import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.display import amount
from services.cli.session import ask, fail, home
from services.cli.tour import Shown, Tour
from shared.contracts.freehold.control.v1 import control_pb2
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub

ANSWER_LENGTH = 150


@click.command()
def demo() -> None:
    """Send a plain, a streamed, a refused, an unpaid and a cancelled request; show what became of each."""
    values = home().read_demo()
    if not values:
        fail("there is no demo.env; start the platform once with `make run`")
    url = values["OPENAI_BASE_URL"]
    console = Console()

    async def question(channel: grpc.aio.Channel) -> list[Shown]:
        model = (await ControlStub(channel).ListModels(control_pb2.ListModelsRequest())).models[0].name
        async with httpx.AsyncClient(base_url=url, timeout=120.0) as client:
            tour = Tour(client, values["OPENAI_API_KEY"], model, channel)
            with console.status("asking"):
                return [shown async for shown in tour.walk()]

    try:
        found = ask(question)
    except httpx.TransportError as error:
        fail(f"{url} does not answer: {error}")
    console.print(_table(found))
    for shown in found:
        console.print(_details(shown))
    first = found[0].request
    console.print(
        f"\n[bold]freehold trace {first}[/bold] shows its hops; "
        "[bold]freehold ledger verify[/bold] checks the money."
    )


def _table(rows: list[Shown]) -> Table:
    table = Table(title="Five requests", title_justify="left", header_style="bold", caption_justify="left")
    for column in ("request", "ended"):
        table.add_column(column)
    for column in ("generated", "delivered", "billed", "price"):
        table.add_column(column, justify="right")
    for shown in rows:
        entry = shown.entry
        counts = [str(n) for n in (entry.generated, entry.delivered, entry.billed)] if entry else ["-"] * 3
        table.add_row(
            shown.what, shown.ended.removeprefix("400 ").removeprefix("429 "), *counts, _price(shown)
        )
    return table


def _price(shown: Shown) -> str:
    if shown.entry is None:
        return "-"
    billed = sum(max(0, line.amount) for line in shown.entry.lines if line.account.startswith("receivable"))
    return amount(billed, shown.entry.currency)


def _details(shown: Shown) -> Text:
    services = len({span.service for span in shown.spans})
    receipt = f"leaf {shown.receipt.leaf_index} of the log" if shown.receipt else "pending"
    answer = " ".join(shown.answer.split())
    if len(answer) > ANSWER_LENGTH:
        answer = answer[: ANSWER_LENGTH - 1] + "…"
    return Text.assemble(
        (f"\n{shown.what}  ", "bold"),
        (f"{shown.request}\n", "dim"),
        f"  ended    {shown.ended}\n",
        f"  verdict  {shown.verdict}\n",
        f"  receipt  {receipt}; trace of {len(shown.spans)} spans over {services} services\n",
        f"  answer   {answer}",
    )
