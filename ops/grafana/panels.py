"""What the dashboards are made of: panels laid out in rows of 24 columns, and the queries behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

COLUMNS = 24
WINDOW = "$__rate_interval"
HERE = 'instance=~"$instance"'
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and the name of each series it brings."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Shown:
    """One panel as its author writes it."""

    title: str
    description: str
    """For an operator: what is good, what is not, and where to look next."""
    unit: str
    """One of Grafana's, such as `s`, `percentunit`, `short`."""
    queries: tuple[Query, ...]
    kind: Literal["lines", "stacked", "number", "bars"] = "lines"
    width: int = 8
    height: int = 8
    warn: float | None = None
    """From here on a number is yellow, from `bad` on red."""
    bad: float | None = None
    least: float | None = 0
    most: float | None = None
    low_is_bad: bool = False
    """Then from `warn` on it is yellow and from `bad` on green; below, red."""


@dataclass(frozen=True)
class Section:
    """A row's title and its panels."""

    title: str
    panels: tuple[Shown, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard as its author writes it."""

    name: str
    """Of the file, and of the address in Grafana."""
    title: str
    description: str
    sections: tuple[Section, ...]


def sel(name: str, *matchers: str) -> str:
    """A metric's series on the chosen instances."""
    return f"{name}{{{', '.join((HERE, *matchers))}}}"


def rate(name: str, *matchers: str, by: str = "") -> str:
    """Per second, summed by these labels."""
    return f"sum{_by(by)} (rate({sel(name, *matchers)}[{WINDOW}]))"


def total(name: str, *matchers: str, by: str = "") -> str:
    """The sum of a gauge."""
    return f"sum{_by(by)} ({sel(name, *matchers)})"


def highest(name: str, *matchers: str, by: str = "") -> str:
    """The highest of a gauge."""
    return f"max{_by(by)} ({sel(name, *matchers)})"


def grown(name: str, *matchers: str, window: str = "1h", by: str = "") -> str:
    """How much a counter grew in a window; 0 where nothing was ever counted."""
    found = f"sum{_by(by)} (increase({sel(name, *matchers)}[{window}]))"
    return found if by else f"{found} or vector(0)"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """A quantile of a histogram, as its buckets tell it. `histogram` is without `_bucket`."""
    labels = ", ".join(filter(None, ("le", by)))
    inner = f"sum by ({labels}) (rate({sel(histogram + '_bucket', *matchers)}[{WINDOW}]))"
    return f"histogram_quantile({share}, {inner})"


def quantiles(histogram: str, *shares: float) -> tuple[Query, ...]:
    """One query a share, named `p95`."""
    return tuple(Query(quantile(share, histogram), f"p{share * 100:g}") for share in shares)


def ratio(part: str, whole: str) -> str:
    """A share; 0 while there is nothing to have a share of."""
    return f"({part}) / ({whole} > 0) or vector(0)"


def one(expression: str, legend: str = "") -> tuple[Query, ...]:
    """The queries of a panel that has one."""
    return (Query(expression, legend),)


def ours(expression: str) -> str:
    """Of a metric that other programs have too, the series of Freehold's processes."""
    return f"({expression}) and on (instance) freehold_process_build_info"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def build(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"freehold-{board.name}")
        .description(board.description)
        .tags(["freehold"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("Freehold")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["freehold"])
            .as_dropdown(as_dropdown=False)
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_instances())
    )
    top, number = 0, 0
    for section in board.sections:
        number += 1
        made.with_row(_row(section.title, number, top))
        top += 1
        left = 0
        tallest = 0
        for shown in section.panels:
            if left + shown.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            number += 1
            place = model.GridPos(x=left, y=top, w=shown.width, h=shown.height)
            made.with_panel(_panel(shown).id(number).grid_pos(place))
            left += shown.width
            tallest = max(tallest, shown.height)
        top += tallest
    found: dict[str, Any] = made.build().to_json()
    return found


def _row(title: str, number: int, top: int) -> dashboard.Row:
    place = model.GridPos(x=0, y=top, w=COLUMNS, h=1)
    return dashboard.Row(title).id(number).grid_pos(place).collapsed(collapsed=False)


def _instances() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("instance")
        .label("Process")
        .datasource(SOURCE)
        .query("label_values(freehold_process_build_info, instance)")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(shown: Shown) -> Any:
    kinds = {"lines": _lines, "stacked": _lines, "number": _number, "bars": _bars}
    panel = kinds[shown.kind](shown)
    panel.title(shown.title).description(shown.description).unit(shown.unit).datasource(SOURCE)
    if shown.least is not None:
        panel.min(shown.least)
    if shown.most is not None:
        panel.max(shown.most)
    for place, query in enumerate(shown.queries):
        panel.with_target(_target(query, chr(ord("A") + place), instant=shown.kind in ("number", "bars")))
    return panel


def _target(query: Query, name: str, *, instant: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).ref_id(name).legend_format(query.legend)
    return target.instant() if instant else target.range()


def _thresholds(shown: Shown) -> dashboard.ThresholdsConfig:
    first, last = (RED, GREEN) if shown.low_is_bad else (GREEN, RED)
    steps = [model.Threshold(value=None, color=first)]
    if shown.warn is not None:
        steps.append(model.Threshold(value=shown.warn, color=YELLOW))
    if shown.bad is not None:
        steps.append(model.Threshold(value=shown.bad, color=last))
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(shown: Shown) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(common_model.LegendDisplayMode.TABLE)
        .placement(common_model.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(common_model.TooltipDisplayMode.MULTI)
        .sort(common_model.SortOrder.DESCENDING)
    )
    panel = timeseries.Panel().line_width(1).fill_opacity(10).legend(legend).tooltip(tooltip)
    if shown.kind == "stacked":
        panel.fill_opacity(40).stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if shown.bad is not None:
        panel.thresholds(_thresholds(shown))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_model.GraphTresholdsStyleMode.DASHED)
        )
    return panel


def _number(shown: Shown) -> stat.Panel:
    reduce = common.ReduceDataOptions().calcs(_LAST).values(values=False)
    return (
        stat.Panel()
        .reduce_options(reduce)
        .color_mode(common_model.BigValueColorMode.BACKGROUND)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .thresholds(_thresholds(shown))
        .no_value("no data")
    )


def _bars(shown: Shown) -> bargauge.Panel:
    reduce = common.ReduceDataOptions().calcs(_LAST).values(values=False)
    return (
        bargauge.Panel()
        .reduce_options(reduce)
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .thresholds(_thresholds(shown))
        .no_value("none")
    )


_LAST: Sequence[str] = ["lastNotNull"]
