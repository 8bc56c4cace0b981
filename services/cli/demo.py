"""`freehold demo`: five real requests, and a table of what became of each."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from shlex import quote

import click
import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.audit.tlog.receipt import assemble_receipt, evidence
from services.cli.display import NANO
from services.cli.embedded.home import Home
from services.cli.session import Channels, ask, fail, freehold, home, near
from services.cli.tour import Shown, Tour
from shared.contracts.freehold.control.v1 import control_pb2
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub

ANSWER_LENGTH = 150


@click.command()
def demo() -> None:
    """Send a plain, a streamed, a refused, an unpaid and a cancelled request; show what became of each."""
    place = home()
    values = place.read_demo()
    if not {"OPENAI_BASE_URL", "OPENAI_API_KEY"} <= values.keys():
        fail(f"{place.demo} holds no key; start the platform once with `make run`, or set FREEHOLD_HOME")
    url = values["OPENAI_BASE_URL"]
    console = Console()

    async def question(to: Channels) -> list[Shown]:
        model = (await ControlStub(to.control).ListModels(control_pb2.ListModelsRequest())).models[0].name
        found = []
        async with httpx.AsyncClient(base_url=url, timeout=120.0) as client:
            with console.status("asking") as status:
                async for shown in Tour(client, values["OPENAI_API_KEY"], model, to).walk():
                    status.update(f"{shown.what}: done; asking the next")
                    found.append(shown)
        return found

    try:
        found = ask(question)
    except httpx.TransportError as error:
        fail(f"{url} does not answer ({str(error) or type(error).__name__}); is the platform still running?")
    for shown in found:
        console.print(_details(shown))
    console.print("\n", _table(found), sep="", end="")
    click.echo(_next_steps(found[0], place))


def _next_steps(first: Shown, place: Home) -> str:
    """What to type now; each line can be copied."""
    name = freehold()
    text = f"""
The hops of the first one, with their times:

  {name} trace {first.request}

The money:

  {name} ledger verify
"""
    if file := _keep(first, place.path / "receipts"):
        paths = [quote(str(near(path))) for path in (file, place.path / "audit" / "log.pub")]
        text += f"""
The proof of its answer, offline; change one byte of the file and it says no:

  {name} receipt verify {paths[0]} --key {paths[1]}
"""
    return text


def _table(rows: list[Shown]) -> Table:
    """One line a request that fits 80 columns."""
    prices = [_price(shown) for shown in rows]
    decimals = max((-int(price.normalize().as_tuple().exponent) for price in prices if price), default=0)
    currency = next((shown.entry.currency for shown in rows if shown.entry), "")
    table = Table(title="Five requests", title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in ("request", "ended"):
        table.add_column(column, no_wrap=True)
    for column in ("generated", "delivered", "billed", f"price {currency}"):
        table.add_column(column, justify="right", no_wrap=True)
    for shown, price in zip(rows, prices, strict=True):
        entry = shown.entry
        counts = [str(n) for n in (entry.generated, entry.delivered, entry.billed)] if entry else ["-"] * 3
        table.add_row(
            shown.what, _state(shown), *counts, "-" if price is None else f"{price:.{max(0, decimals)}f}"
        )
    return table


def _price(shown: Shown) -> Decimal | None:
    if shown.entry is None:
        return None
    billed = sum(max(0, line.amount) for line in shown.entry.lines if line.account.startswith("receivable"))
    return Decimal(billed) / NANO


def _logged(shown: Shown) -> dict[str, object]:
    """The log's account of the request."""
    return dict(json.loads(shown.receipt.entry)) if shown.receipt else {}


def _state(shown: Shown) -> str:
    return str(_logged(shown).get("state", "pending"))


def _details(shown: Shown) -> Group:
    services = len({span.service for span in shown.spans})
    receipt = f"entry {shown.receipt.leaf_index} of the log" if shown.receipt else "pending"
    answer = " ".join(shown.answer.split())
    if len(answer) > ANSWER_LENGTH:
        answer = answer[: ANSWER_LENGTH - 1] + "…"
    rows = Table.grid(padding=(0, 2))
    for label, text in (
        ("client saw", shown.ended),
        ("verdict", shown.verdict or str(_logged(shown).get("input_verdict") or "-")),
        ("evidence", f"receipt: {receipt}; trace: {len(shown.spans)} spans of {services} services"),
        ("answer", answer),
    ):
        rows.add_row(Text(label, style="dim"), Text(text))
    return Group(
        Text.assemble((f"\n{shown.what}  ", "bold"), (shown.request, "dim")), Padding(rows, (0, 0, 0, 2))
    )


def _keep(shown: Shown, folder: Path) -> Path | None:
    """Save the receipt of an answer, as its client would."""
    if shown.receipt is None or _state(shown) != "completed":
        return None
    found = shown.receipt
    values = evidence(found.entry, found.leaf_index, found.proof, found.checkpoint)
    file = folder / f"{shown.request}.json"
    try:
        folder.mkdir(exist_ok=True)
        file.write_bytes(assemble_receipt([shown.answer], values))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    return file
