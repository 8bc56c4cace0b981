"""The edge's settings as an operator gives them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.edge.settings import EdgeSettings


def test_ports_have_their_short_names_and_their_full_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_HTTP_PORT", "1")
    monkeypatch.setenv("FREEHOLD_EDGE_GRPC_PORT", "2")
    settings = EdgeSettings()
    assert (settings.http_port, settings.grpc_port) == (1, 2)
    assert EdgeSettings(http_port=3).http_port == 3


def test_hosts_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EdgeSettings().hosts == frozenset()
    monkeypatch.setenv("FREEHOLD_EDGE_HOSTS", "API.example.org, localhost,")
    assert EdgeSettings().hosts == {"api.example.org", "localhost"}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        EdgeSettings().http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "fields", [{"max_body_bytes": 0}, {"sweep_s": 0}, {"http_port": 70_000}, {"metrics_for": "x"}]
)
def test_values_out_of_bounds_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EdgeSettings(**fields)  # type: ignore[arg-type]
