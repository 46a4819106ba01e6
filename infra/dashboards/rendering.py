"""A board as the JSON that Grafana is provisioned with. But for the names of units, only this file knows Grafana's SDK.

It is the classic model, which every Grafana since 11 and every sidecar reads, and not the newer one of resources.
"""

import warnings
from collections.abc import Iterator

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from infra.dashboards.board import Board, Kind, Panel, Query, Variable

with warnings.catch_warnings():  # it recommends the newer model
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
    from grafana_foundation_sdk.models import common as common_models
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models import prometheus as prometheus_models

TAG = "gim"
_COLUMNS = 24
_SOURCE = common_models.DataSourceRef("prometheus", "${datasource}")
_Builder = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel


def as_json(board: Board) -> str:
    """The file of a board: the same for the same board.

    Raises:
        ValueError: a panel is wider than the grid.
    """
    rendered = models.Dashboard(
        uid=f"gim-{board.name}",
        title=board.title,
        description=board.description,
        tags=[TAG],
        time=models.DashboardDashboardTime(from_val=f"now-{board.period}", to="now"),
        refresh="30s",
        graph_tooltip=models.DashboardCursorSync.CROSSHAIR,
        templating=models.DashboardDashboardTemplating(list_val=[_source_variable(), *map(_variable, board.variables)]),
        links=[_link()],
        panels=list(_placed(board)),
    )
    return JSONEncoder(indent=1, sort_keys=True, ensure_ascii=False).encode(rendered) + "\n"


def _placed(board: Board) -> Iterator[models.Panel | models.RowPanel]:
    """Rows and their panels from left to right, with ids that count them."""
    number, top = 0, 0
    for row in board.rows:
        number += 1
        place = models.GridPos(x=0, y=top, w=_COLUMNS, h=1)
        yield models.RowPanel(title=row.title, id_val=number, grid_pos=place, panels=[])
        top, left, lowest = top + 1, 0, 0
        for panel in row.panels:
            if panel.width > _COLUMNS:
                raise ValueError(f"{panel.title}: {panel.width} columns of {_COLUMNS}")
            if left + panel.width > _COLUMNS:
                top, left, lowest = top + lowest, 0, 0
            number += 1
            place = models.GridPos(x=left, y=top, w=panel.width, h=panel.height)
            yield _panel(panel).id(number).grid_pos(place).build()
            left, lowest = left + panel.width, max(lowest, panel.height)
        top += lowest


def _panel(panel: Panel) -> _Builder:
    builder = _picture(panel)
    builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(_SOURCE)
    for place, query in enumerate(panel.queries):
        builder.with_target(_target(query, chr(ord("A") + place), panel.kind))
    if panel.top is not None:
        builder.max(panel.top)
    if panel.colours:
        steps = [models.Threshold(value, colour) for value, colour in panel.colours]
        builder.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    return builder


def _picture(panel: Panel) -> _Builder:
    if panel.kind == "number":
        colour = common_models.BigValueColorMode.VALUE if panel.colours else common_models.BigValueColorMode.NONE
        return (
            stat.Panel()
            .reduce_options(_last_value())
            .color_mode(colour)
            .graph_mode(common_models.BigValueGraphMode.NONE)
            .text_mode(common_models.BigValueTextMode.AUTO)
        )
    if panel.kind == "bars":
        return (
            bargauge.Panel()
            .reduce_options(_last_value())
            .orientation(common_models.VizOrientation.HORIZONTAL)
            .display_mode(common_models.BarGaugeDisplayMode.BASIC)
            .min(0)
        )
    if panel.kind == "matrix":
        return _matrix(panel)
    return _over_time(panel)


def _over_time(panel: Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "mean", "max"])
    )
    tooltip = (
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    builder = timeseries.Panel().legend(legend).tooltip(tooltip).axis_soft_min(0).line_width(1)
    if panel.kind == "stack":
        stacking = common.StackingConfig().mode(common_models.StackingMode.NORMAL)
        return builder.stacking(stacking).fill_opacity(40)
    return builder.fill_opacity(8)


def _matrix(panel: Panel) -> table.Panel:
    assert panel.labels is not None
    row, column = panel.labels
    options = {"rowField": row, "columnField": column, "valueField": "Value"}
    return table.Panel().with_transformation(models.DataTransformerConfig("groupingToMatrix", options=options))


def _last_value() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _target(query: Query, ref_id: str, kind: Kind) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(_SOURCE)
    if kind == "matrix":
        target.format(prometheus_models.PromQueryFormat.TABLE)
    return target.range() if kind in ("lines", "stack") else target.instant()


def _source_variable() -> models.VariableModel:
    return models.VariableModel(
        type_val=models.VariableType.DATASOURCE, name="datasource", label="Prometheus", query="prometheus"
    )


def _variable(variable: Variable) -> models.VariableModel:
    everything = models.VariableOption(text="All", value="$__all", selected=True)
    return models.VariableModel(
        type_val=models.VariableType.QUERY,
        name=variable.name,
        label=variable.label,
        datasource=_SOURCE,
        query=f"label_values({variable.metric}, {variable.name})",
        definition=f"label_values({variable.metric}, {variable.name})",
        refresh=models.VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=models.VariableSort.ALPHABETICAL_ASC,
        multi=not variable.is_single,
        include_all=not variable.is_single,
        all_value=None if variable.is_single else ".+",
        current=None if variable.is_single else everything,
    )


def _link() -> models.DashboardLink:
    kind = models.DashboardLinkType.DASHBOARDS
    return models.DashboardLink(title="GIM", type_val=kind, tags=[TAG], keep_time=True)
