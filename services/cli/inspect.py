"""Commands that look at a running platform: its state, the hops of a request, the ledger."""

from __future__ import annotations

import click

from services.cli.display import show
from services.cli.session import ask
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.contracts.freehold.platform.v1 import pulse_pb2 as pb
from shared.contracts.freehold.platform.v1.pulse_pb2_grpc import PlatformStub

BAR_WIDTH = 32


@click.command()
def status() -> None:
    """Show which services run and whether they are ready."""
    found = ask(lambda channel: PlatformStub(channel).GetStatus(pb.GetStatusRequest()))
    rows = [[row.service, "ready" if row.ready else "not ready", row.reason] for row in found.services]
    show(f"Freehold {found.version}, up {found.uptime_s:.0f} s", ["service", "state", "reason"], rows)
    if not all(row.ready for row in found.services):
        raise SystemExit(1)


@click.command()
@click.argument("request")
def trace(request: str) -> None:
    """Show one request's hops with their times."""
    found = ask(lambda channel: PlatformStub(channel).GetTrace(pb.GetTraceRequest(request=request)))
    begin = min(span.start_ns for span in found.spans)
    whole = max(span.end_ns for span in found.spans) - begin or 1
    rows = []
    for span in found.spans:
        first = (span.start_ns - begin) * BAR_WIDTH // whole
        length = max(1, (span.end_ns - span.start_ns) * BAR_WIDTH // whole)
        bar = (" " * min(first, BAR_WIDTH - 1) + "█" * length)[:BAR_WIDTH]
        rows.append(
            [
                span.service,
                span.name,
                f"{(span.start_ns - begin) / 1e6:.2f}",
                f"{(span.end_ns - span.start_ns) / 1e6:.2f}",
                bar,
            ]
        )
    show(f"Trace {found.trace_id.hex()}", ["service", "span", "from ms", "for ms", ""], rows)


@click.group()
def ledger() -> None:
    """Check the ledger."""


@ledger.command("verify")
@click.option("--organisation", default="", help="Only this organisation's.")
def verify(organisation: str) -> None:
    """Check that debits equal credits, that each request settled once, and that nothing is missing."""
    wanted = billing_pb2.VerifyLedgerRequest(organisation=organisation)
    found = ask(lambda channel: BillingStub(channel).VerifyLedger(wanted))
    rows = [[row.name, str(row.examined), "ok" if row.passed else "FAILED"] for row in found.checks]
    show("Ledger", ["check", "examined", "result"], rows)
    violations = [text for row in found.checks for text in row.violations]
    for text in violations:
        click.echo(text, err=True)
    if violations or not all(row.passed for row in found.checks):
        raise SystemExit(1)
