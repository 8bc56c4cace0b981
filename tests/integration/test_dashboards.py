"""Dashboards and alerts as they lie in `ops`: fresh, whole, readable, and each alert with its page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.grafana.build import BOARDS, FOLDER, stale
from services.cli.main import main as command_line
from tests.integration.promql import Matcher, Named, read

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "ops" / "prometheus" / "rules"
RUNBOOKS = ROOT / "ops" / "runbooks"
FILES = sorted(FOLDER.glob("*.json"))
CHAPTERS = ("What it means", "What a user sees", "How to look", "What to do", "Whom to wake")
UNITS = {"s", "short", "percentunit", "reqps", "ops", "bytes", "watt", "celsius", "joule"}


def dashboards() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in FILES:
        yield path.stem, json.loads(path.read_text())


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def alerts() -> Iterator[dict[str, Any]]:
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def promtool(*arguments: str) -> None:
    tool = shutil.which("promtool") or str(ROOT / "build" / "promtool" / "promtool")
    done = subprocess.run([tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_what_their_builder_writes() -> None:
    assert stale() == []
    assert {path.stem for path in FILES} == {"service", "money", "safety", "trust", "hardware"}
    assert len(FILES) == len(BOARDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_is_one_to_the_sdk(path: Path) -> None:
    text = json.loads(path.read_text())
    found = Dashboard.from_json(text)
    assert found.title
    assert found.uid == f"freehold-{path.stem}"
    assert found.templating is not None
    assert [variable.name for variable in found.templating.list_val or []] == ["datasource", "instance"]
    assert len(found.panels or []) == len(text["panels"])


@pytest.mark.parametrize(("name", "dashboard"), list(dashboards()))
def test_every_panel_says_what_it_shows(name: str, dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles))
    for panel in panels(dashboard):
        assert panel["title"], name
        assert len(panel["description"]) > 30, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["expr"] for target in panel["targets"]), panel["title"]
        several = len(panel["targets"]) > 1
        assert not several or all(target["legendFormat"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize(("name", "dashboard"), list(dashboards()))
def test_panels_lie_beside_each_other(name: str, dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    assert dashboard["panels"][0]["type"] == "row"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        # A zero is what Grafana takes for a field that is not there.
        left, top = place.get("x", 0), place.get("y", 0)
        assert left + place["w"] <= 24, f"{name}: {panel['title']}"
        cells = {(left + x, top + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{name}: {panel['title']}"
        taken |= cells
    rows = {y for _, y in taken}
    assert rows == set(range(max(rows) + 1)), f"{name}: a gap"
    for y in rows:
        assert sum((x, y) in taken for x in range(24)) == 24, f"{name}: row {y} is not full"


def test_the_first_row_of_each_is_numbers() -> None:
    for name, dashboard in dashboards():
        first = [panel for panel in panels(dashboard) if panel["gridPos"].get("y", 0) == 1]
        assert first, name
        assert {panel["type"] for panel in first} == {"stat"}, name


def test_every_expression_is_promql(tmp_path: Path) -> None:
    window = {"$__rate_interval": "5m", "$instance": ".*"}
    rules = []
    for name, dashboard in dashboards():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in window.items():
                    expression = expression.replace(variable, value)
                assert "$" not in expression, panel["title"]
                rules.append({"record": f"panel:{name}:{len(rules)}", "expr": expression})
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", *map(str, sorted(RULES.glob("*.yaml"))))


def test_each_alert_fires_on_what_it_is_for() -> None:
    promtool("test", "rules", "ops/prometheus/rules_test.yaml")
    tested = (ROOT / "ops" / "prometheus" / "rules_test.yaml").read_text()
    for alert in alerts():
        assert f'alertname="{alert["alert"]}"' in tested


def test_every_alert_has_what_an_operator_needs() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))
    for alert in alerts():
        assert alert["alert"].startswith("Freehold")
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"] == f"ops/runbooks/{alert['alert']}.md"


def test_every_promise_that_metrics_can_show_has_an_alert() -> None:
    watched = {alert["labels"].get("promise", "") for alert in alerts()}
    assert watched >= {"1", "2", "3", "4", "5", "6", "7", "8"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_is_whole(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.stem}\n")
    chapters = dict(re.findall(r"^## (.+?)\n\n(.+?)(?=\n\n## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert tuple(chapters) == CHAPTERS
    assert all(len(body.strip()) >= 8 for body in chapters.values())
    named = set(re.findall(r"Freehold[A-Z][A-Za-z]+", text))
    assert named <= {alert["alert"] for alert in alerts()}
    titles = {panel["title"] for _, dashboard in dashboards() for panel in dashboard["panels"]}
    boards = {name.capitalize() for name, _ in dashboards()}
    for board, panel in re.findall(r"\*(\w+)\*,\s+(?:row\s+)?\*([^*]+)\*", text):
        assert board in boards
        assert panel in titles, f"{board} has no {panel}"
    for command in re.findall(r"`freehold ([a-z]+(?: [a-z]+)?)", text):
        done = CliRunner().invoke(command_line, [*command.split(), "--help"])
        assert done.exit_code == 0, f"freehold {command}: {done.output}"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up", Named({"up"}, [], set())),
        ("sum by (a, b) (rate(x_total[5m]))", Named({"x_total"}, [], {"a", "b"})),
        ('x{l=~"a|b"} > 1e9', Named({"x"}, [Matcher("x", "l", "=~", "a|b")], set())),
        ("x{m='}'}", Named({"x"}, [Matcher("x", "m", "=", "}")], set())),
        ("a / on (i) group_left (v) b or vector(0)", Named({"a", "b"}, [], {"i", "v"})),
        ("max_over_time(max(a)[1h:1m]) - 24 * 3600 and b offset 10m", Named({"a", "b"}, [], set())),
        ('label_replace(a, "dst", "$1", "src", "(.*)")', Named({"a"}, [], set())),
        ("a and on (i) b unless c", Named({"a", "b", "c"}, [], {"i"})),
    ],
)
def test_promql_is_read(expression: str, expected: Named) -> None:
    assert read(expression) == expected
