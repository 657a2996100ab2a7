"""Building blocks of Grafana dashboards: classic JSON, which Grafana 10 to 13 load from files and imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# In every selector, so that one dashboard shows one instance or all of them, with Kubernetes' labels or without.
SELECTOR = 'job=~"$job",namespace=~"$namespace",instance=~"$instance"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
TAG = "siding"
SCHEMA_VERSION = 39

Json = dict[str, Any]


@dataclass
class Panel:
    """
    One panel: `queries` are pairs of an expression and its legend. In expressions, `{}` stands for the common
    selector, and `{name="value"}` has it added. `thresholds` are pairs of a value and a colour, ascending.
    """

    title: str
    description: str
    queries: list[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    thresholds: list[tuple[float | None, str]] = field(default_factory=list)
    stacked: bool = False
    largest: float | None = None
    decimals: int | None = None
    columns: list[str] = field(default_factory=list)
    mappings: Json | None = None

    def json(self, identity: int, x: int, y: int) -> Json:
        """At a place of the grid."""
        steps = [{"color": colour, "value": value} for value, colour in self.thresholds or [(None, "green")]]
        defaults: Json = {
            "unit": self.unit,
            "min": 0,
            "noValue": "none",
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "thresholds" if self.kind in ("stat", "gauge") else "palette-classic"},
        }
        if self.largest is not None:
            defaults["max"] = self.largest
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.mappings:
            defaults["mappings"] = [{"type": "value", "options": self.mappings}]
        if self.kind == "timeseries":
            defaults["custom"] = self._lines()
        return {
            "id": identity,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": self._options(),
            "targets": [self._target(number, *query) for number, query in enumerate(self.queries)],
            **self._transformations(),
        }

    def _lines(self) -> Json:
        custom: Json = {"lineWidth": 1, "fillOpacity": 20 if self.stacked else 8, "showPoints": "never"}
        if self.stacked:
            custom["stacking"] = {"mode": "normal", "group": "A"}
        if self.thresholds:
            custom["thresholdsStyle"] = {"mode": "dashed"}
        return custom

    def _options(self) -> Json:
        if self.kind == "timeseries":
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        if self.kind == "stat":
            reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {"reduceOptions": reduce, "graphMode": "area", "colorMode": "value", "textMode": "auto"}
        if self.kind == "table":
            return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"]}}
        assert self.kind == "state-timeline", self.kind
        return {"mergeValues": True, "showValue": "auto", "rowHeight": 0.9}

    def _target(self, number: int, expression: str, legend: str) -> Json:
        is_table = self.kind == "table"
        return {
            "refId": chr(ord("A") + number),
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": selected(expression),
            "legendFormat": legend,
            "instant": is_table,
            "range": not is_table,
            **({"format": "table"} if is_table else {}),
        }

    def _transformations(self) -> Json:
        if self.kind != "table":
            return {}
        names = {f"Value #{chr(ord('A') + n)}": column for n, column in enumerate(self.columns)}
        if len(self.queries) == 1:
            names = {"Value": self.columns[0]}
        steps: list[Json] = [{"id": "merge", "options": {}}] if len(self.queries) > 1 else []
        hidden = {"Time": True}
        return {
            "transformations": [*steps, {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names}}]
        }


def selected(expression: str) -> str:
    """With the common selector: every metric has braces, which it is put into."""
    return expression.replace("{", "{" + SELECTOR + ",").replace(",}", "}")


def dashboard(name: str, title: str, description: str, rows: list[tuple[str, list[Panel]]]) -> Json:
    """Rows of panels, each with a heading."""
    panels: list[Json] = []
    y = 0
    for heading, row in rows:
        panels.append(_heading(len(panels) + 1, heading, y))
        y, x, tallest = y + 1, 0, 0
        for panel in row:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return {
        "id": None,
        "uid": f"siding-{name}",
        "title": f"Siding / {title}",
        "description": description,
        "tags": [TAG],
        "editable": False,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "timezone": "",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "links": [_links()],
        "templating": {"list": variables()},
        "annotations": {"list": [_restarts()]},
        "panels": panels,
    }


def variables() -> list[Json]:
    """Whose metrics are shown."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
    }
    described = [("job", "Job", ""), ("namespace", "Namespace", 'job=~"$job"')]
    described.append(("instance", "Instance", 'job=~"$job",namespace=~"$namespace"'))
    return [source, *(_variable(name, label, within) for name, label, within in described)]


def _variable(name: str, label: str, within: str) -> Json:
    query = f"label_values(siding_build_info{{{within}}}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        # Matches series without the label, too.
        "allValue": ".*",
        "multi": True,
        "sort": 1,
        "hide": 0,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _heading(identity: int, title: str, y: int) -> Json:
    place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {"id": identity, "type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []}


def _links() -> Json:
    return {
        "type": "dashboards",
        "title": "Siding",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _restarts() -> Json:
    return {
        "name": "Reloads and restarts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": selected("changes(siding_config_last_reload_success_timestamp_seconds{}[1m]) > 0"),
        "titleFormat": "configuration applied",
        "textFormat": "{{instance}}",
        "step": "1m",
    }
