"""Commands that look at a running platform: its state, the hops of a request, the ledger."""

from __future__ import annotations

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from services.cli.display import show
from services.cli.session import Channels, ask, fail
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.contracts.freehold.control.v1 import control_pb2
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.contracts.freehold.platform.v1 import pulse_pb2 as pb
from shared.contracts.freehold.platform.v1.pulse_pb2_grpc import PlatformStub

BAR_WIDTH = 12
"""Least width of the bars."""
COLUMNS_WIDTH = 68
"""Of what stands before them."""


@click.command()
def status() -> None:
    """Show which services run and whether they are ready."""

    async def question(to: Channels) -> list[pb.GetStatusResponse]:
        return [await PlatformStub(one).GetStatus(pb.GetStatusRequest()) for one in dict.fromkeys(to)]

    found = ask(question)
    services = [row for process in found for row in process.services]
    rows = [[row.service, "ready" if row.ready else "not ready", row.reason] for row in services]
    up_s = min(process.uptime_s for process in found)
    show(f"Freehold {found[0].version}, up {up_s:.0f} s", ["service", "state", "reason"], rows)
    if not all(row.ready for row in services):
        raise SystemExit(1)


@click.command()
@click.argument("request")
def trace(request: str) -> None:
    """Show one request's hops with their times."""

    async def question(to: Channels) -> pb.GetTraceResponse:
        if len(set(to)) > 1:
            fail(
                "each process keeps its own spans only; the whole trace is where FREEHOLD_OTLP_ENDPOINT leads"
            )
        answer: pb.GetTraceResponse = await PlatformStub(to.control).GetTrace(
            pb.GetTraceRequest(request=request)
        )
        return answer

    found = ask(question)
    console = Console()
    table = Table(
        title=f"Trace {found.trace_id.hex()}", title_justify="left", header_style="bold", box=SIMPLE_HEAD
    )
    for column in ("service", "span"):
        table.add_column(column, no_wrap=True)
    for column in ("from ms", "for ms"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    begin = min(span.start_ns for span in found.spans)
    whole = max(span.end_ns for span in found.spans) - begin or 1
    width = max(BAR_WIDTH, console.width - COLUMNS_WIDTH)
    for span in found.spans:
        start, length = span.start_ns - begin, span.end_ns - span.start_ns
        times = [f"{value / 1e6:.2f}" for value in (start, length)]
        bar = " " * min(start * width // whole, width - 1) + "█" * max(1, length * width // whole)
        table.add_row(span.service, span.name, *times, bar[:width])
    console.print(table)


@click.group()
def ledger() -> None:
    """Check the ledger."""


@ledger.command("verify")
@click.option("--organisation", default="", help="Only this organisation's.")
def verify(organisation: str) -> None:
    """Check that debits equal credits, that each request settled once, and that nothing is missing."""

    async def question(to: Channels) -> billing_pb2.VerifyLedgerResponse:
        known = await ControlStub(to.control).ListOrganisations(control_pb2.ListOrganisationsRequest())
        if organisation and organisation not in {row.id for row in known.organisations}:
            fail(f"there is no organisation {organisation}")
        wanted = billing_pb2.VerifyLedgerRequest(organisation=organisation)
        response: billing_pb2.VerifyLedgerResponse = await BillingStub(to.billing).VerifyLedger(wanted)
        return response

    found = ask(question)
    rows = [[row.name, str(row.examined), "ok" if row.passed else "FAILED"] for row in found.checks]
    show("Ledger", ["check", "examined", "result"], rows)
    violations = [text for row in found.checks for text in row.violations]
    for text in violations:
        click.echo(text, err=True)
    if violations or not all(row.passed for row in found.checks):
        raise SystemExit(1)
