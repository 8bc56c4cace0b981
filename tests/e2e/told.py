"""What a running platform tells at its scrapes, against what dashboards and alerts ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running import ROOT
from tests.integration.promql import Named, read

OURS = "freehold_"
PROMETHEUS_OWN = {"up", "ALERTS"}
ADDED_BY_SCRAPE = {"instance", "job", "alertname", "alertstate", "le"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def asked() -> dict[str, Named]:
    """Every expression of a panel or a rule, by itself."""
    expressions: set[str] = set()
    for path in (ROOT / "ops" / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            expressions |= {target["expr"] for target in panel.get("targets", [])}
        variables = json.loads(path.read_text())["templating"]["list"]
        expressions |= {
            found[1]
            for variable in variables
            if (found := re.match(r"label_values\((\w+),", str(variable.get("query"))))
        }
    for path in (ROOT / "ops" / "prometheus" / "rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            expressions |= {rule["expr"] for rule in group["rules"]}
    return {expression: read(expression) for expression in expressions}


class Told:
    """The metrics of all processes of a platform."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.families: dict[str, Metric] = {}
        self.labels: dict[str, dict[str, set[str]]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text):
                for suffix in SUFFIXES[family.type]:
                    self.families[family.name + suffix] = family
                for sample in family.samples:
                    values = self.labels.setdefault(sample.name, {})
                    for label, value in sample.labels.items():
                        values.setdefault(label, set()).add(value)

    def complaints(self) -> list[str]:
        """What is asked for and is not there."""
        found = set()
        for named in asked().values():
            found |= {f"no metric {name}" for name in named.metrics - self.families.keys() - PROMETHEUS_OWN}
            for metric, label, operator, value in named.matchers:
                known = self.labels.get(metric)
                if known is None or label in ADDED_BY_SCRAPE:
                    continue  # nothing of it was counted yet, or the scrape says it
                if label not in known:
                    found.add(f"{metric} has no label {label}")
                elif operator == "=" and value not in known[label]:
                    found.add(f"{metric} has no {label}={value}")
            known_labels = {label for name in named.metrics for label in self.labels.get(name, {})}
            counted = all(name in self.labels for name in named.metrics)
            if counted and (strange := named.grouping - known_labels - ADDED_BY_SCRAPE):
                found.add(f"{sorted(named.metrics)} have no label {sorted(strange)}")
        return sorted(found)

    def unseen(self) -> list[str]:
        """What is told and neither a panel nor a rule asks for: nobody looks at it."""
        names = {name for named in asked().values() for name in named.metrics}
        shown = {self.families[name].name for name in names if name in self.families}
        return sorted({family.name for family in self.families.values() if OURS in family.name} - shown)
