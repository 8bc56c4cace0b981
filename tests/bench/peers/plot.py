"""The figures of one run as a picture.

python -m tests.bench.peers.plot RESULTS.json PICTURE.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "Freehold, embedded": "#0b6e4f",
    "Freehold, deployed": "#6bbf9c",
    "Portkey": "#b8b8b8",
    "LiteLLM": "#8c8c8c",
}
PANELS = (
    ("requests_per_s_c16", "plain answers, requests/s, 16 at a time"),
    ("added_p50_ms_c1", "added latency, median ms, one at a time"),
    ("streamed_tokens_per_s_c64", "streamed tokens/s, 64 at a time"),
    ("resident_mib", "resident memory, MiB"),
)


def draw(figures: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write a panel a figure, a bar a gateway, each with its number."""
    mpl.rcParams.update({"font.family": "sans-serif", "font.size": 9, "svg.hashsalt": "freehold"})
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        _panel(axes, title, {gateway: figures[gateway][name] for gateway in COLOURS})
    figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Axes, title: str, values: Mapping[str, float]) -> None:
    names = list(values)[::-1]
    bars = axes.barh(names, [values[name] for name in names], color=[COLOURS[name] for name in names])
    axes.bar_label(bars, labels=[_number(values[name]) for name in names], padding=3)
    axes.set_title(title, loc="left", fontsize=9.5)
    axes.margins(x=0.15)
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:,.1f}"


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text())["figures"], Path(sys.argv[2]))
