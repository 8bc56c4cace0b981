"""`proto/calls.yaml` names what there is, and all that services ask of one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.serve import SERVICES
from shared.rpc.peers import CallsError, load_calls
from tests.integration.test_rpc_credentials import METHODS


def test_every_call_and_caller_exists() -> None:
    calls = load_calls()
    assert set(calls) <= set(METHODS)
    assert set().union(*calls.values()) <= set(SERVICES)


def test_who_may_do_what_only_few_may() -> None:
    """Stated by hand: what is left out of these is the operator's alone."""
    assert {path.rpartition("/")[2]: set(callers) for path, callers in load_calls().items()} == {
        "ClaimNumbers": {"edge", "inference"},
        "GetReceipt": {"edge"},
        "GetUsage": {"edge"},
        "RepublishFacts": {"audit"},
    }


@pytest.mark.parametrize("text", ["- a", "a: b", "a: {b: c}", "a: {b: [1, {}]}", "{"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "calls.yaml").write_text(text)
    with pytest.raises(CallsError):
        load_calls(tmp_path / "calls.yaml")
