"""The command `freehold` where not every package is installed, as in a service's image."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from services.cli.main import COMMANDS, main


@pytest.fixture
def without_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("services.cli.demo", "services.cli.tour"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert all(f"\n  {name} " in shown.output for name in COMMANDS)


@pytest.mark.usefixtures("without_httpx")
def test_help_leaves_out_what_cannot_run_here() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert "\n  serve " in shown.output
    assert "\n  demo " not in shown.output


@pytest.mark.usefixtures("without_httpx")
def test_a_command_without_its_packages_is_not_there() -> None:
    found = CliRunner().invoke(main, ["demo"])
    assert found.exit_code == 2
    assert "No such command 'demo'" in found.output


def test_a_fault_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.cli.demo", raising=False)
    monkeypatch.setitem(sys.modules, "services.cli.session", None)
    assert isinstance(CliRunner().invoke(main, ["demo"]).exception, ModuleNotFoundError)
