"""Receipts: keep the evidence beside an answer, and check it without trusting anybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from services.audit.tlog.canonical import Json
from services.audit.tlog.note import NoteInvalid, parse_verifier
from services.audit.tlog.receipt import ReceiptInvalid, assemble_receipt, evidence
from services.audit.tlog.verify import verify_receipt
from services.cli.session import ask, fail
from shared.contracts.freehold.audit.v1 import audit_pb2 as pb
from shared.contracts.freehold.audit.v1.audit_pb2_grpc import AuditStub


@click.group()
def receipt() -> None:
    """Save and verify receipts."""


@receipt.command("save")
@click.argument("request")
@click.argument("answer", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
def save(request: str, answer: Path, file: Path) -> None:
    """Put the answer's text, as it was received, and the platform's evidence of REQUEST into FILE."""
    found = ask(lambda to: AuditStub(to.audit).GetReceipt(pb.GetReceiptRequest(request=request)))
    if found.pending:
        fail("the log has no checkpoint over this request yet; try again in a second")
    values = evidence(found.entry, found.leaf_index, found.proof, found.checkpoint)
    try:
        file.write_bytes(_assembled(answer.read_bytes().decode(), values))
    except (ReceiptInvalid, UnicodeDecodeError) as error:
        fail(f"{answer} is not the answer of this request: {error}")
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    click.echo(f"{file} holds the receipt of {request}")


def _assembled(answer: str, values: Mapping[str, Json]) -> bytes:
    """The receipt of the text, or of the text without the newline that shells and editors add."""
    try:
        return assemble_receipt([answer], values)
    except ReceiptInvalid:
        if not answer.endswith("\n"):
            raise
        return assemble_receipt([answer.removesuffix("\n")], values)


@receipt.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", required=True, help="Verifier key of the log, or a file that holds it.")
def verify(file: Path, key: str) -> None:
    """Check FILE against the log's public key. Needs no platform, database or network."""
    text = Path(key).read_text().strip() if Path(key).is_file() else key
    try:
        parse_verifier(text)
    except NoteInvalid as error:
        fail(f"{key} is neither a file with the log's public key nor that key: {error}")
    try:
        found = verify_receipt(file.read_bytes(), text)
    except ReceiptInvalid as error:
        fail(f"{file} is NOT valid: {error}")
    click.echo(f"{file} is valid: {found}")
